#include "tune/verify.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "backend/reference.hpp"
#include "tune/tensors.hpp"

namespace expertile {
namespace {

// Large enough for a whole tile and an edge, small enough for the reference to take milliseconds.
Problem cut(const Problem& problem, const TileConfig& tile) {
  Problem small = problem;
  small.experts = std::min<std::int64_t>(problem.experts, 3);
  small.n = std::min<std::int64_t>({problem.n, tile.block_size_n + 5, 201});
  small.k = std::min<std::int64_t>({problem.k, tile.block_size_k + 37, 1100});
  return small;
}

bool is_poison(const GroupedGemmArgs& args, std::int64_t row) {
  const auto bytes = static_cast<std::size_t>(args.c.cols) * size_of(args.c.type);
  const auto* first = static_cast<const std::byte*>(args.c.data) + static_cast<std::size_t>(row) * bytes;
  return std::all_of(first, first + bytes, [](std::byte b) { return b == std::byte{0xff}; });
}

double error_of(const Backend& backend, const Problem& problem, const TileConfig& tile, const RoutingSample& sample) {
  constexpr std::int64_t kRowsOutside = 2;  // poisoned, behind the last group
  Tensors tensors(problem, sample.rows() + kRowsOutside, 1);
  const GroupedGemmArgs args = tensors.args(sample);
  backend.run(problem, tile, args);
  for (std::int64_t row = sample.rows(); row < args.c.rows; ++row) {
    if (!is_poison(args, row)) return std::numeric_limits<double>::infinity();
  }
  return worst_error_over_bound(problem, args, reference_grouped_gemm(problem, args));
}

}  // namespace

double verify_tile(const Backend& backend, const Problem& problem, const TileConfig& tile) {
  const Problem small = cut(problem, tile);
  const std::int64_t last = small.experts - 1;
  const std::int64_t full = std::min(tile.block_size_m, 16);
  const RoutingSample one_row{{0, 1}, {last}};
  const RoutingSample ragged{{0, 3, 3, 3 + full + 1, 3 + full + 2}, {last, 0, 0, last}};  // with an empty group
  return std::max(error_of(backend, small, tile, one_row), error_of(backend, small, tile, ragged));
}

}  // namespace expertile
