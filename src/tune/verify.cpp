#include "tune/verify.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "backend/reference.hpp"
#include "plan/kernel_plan.hpp"
#include "tune/tensors.hpp"

namespace expertile {
namespace {

// Large enough for a whole tile and an edge, small enough for the reference to take milliseconds. Odd sizes are for a
// tile's slow loads; a problem with aligned rows keeps them aligned, so that the kernel verified is the one timed.
Problem cut(const Problem& problem, const TileConfig& tile) {
  Problem small = problem;
  const auto aligned = [](std::int64_t whole, std::int64_t wanted) {
    return whole % 32 == 0 ? std::min(whole, ceil_div(wanted, 32) * 32) : std::min(whole, wanted);
  };
  small.experts = std::min<std::int64_t>(problem.experts, 3);
  small.n = std::min<std::int64_t>({problem.n, tile.block_size_n + 5, 201});
  // Past the last stage, so that the ring's first one is filled again.
  small.k = aligned(problem.k, std::min<std::int64_t>(std::int64_t{tile.block_size_k} * tile.num_stages + 37, 1100));
  return small;
}

// A call's tensors, copied to the host.
struct OnHost {
  std::vector<std::vector<std::byte>> memory;
  GroupedGemmArgs args;
};

Result<const void*> copied(const Backend& backend, const void* from, std::size_t bytes, OnHost& host) {
  host.memory.emplace_back(bytes);
  if (bytes == 0) return nullptr;
  if (auto status = backend.download(from, host.memory.back()); !status) return fail(status.error());
  return host.memory.back().data();
}

std::size_t matrix_bytes(const ConstMatrixView& m) {
  return static_cast<std::size_t>(m.rows * m.pitch) * size_of(m.type);
}

Result<OnHost> to_host(const Backend& backend, const GroupedGemmArgs& device) {
  OnHost host;
  host.args = device;
  host.memory.reserve(7);
  const auto a = copied(backend, device.a.data, matrix_bytes(device.a), host);
  const auto b = copied(backend, device.b.data, matrix_bytes(device.b), host);
  const auto c = copied(backend, device.c.data, matrix_bytes(device.c), host);
  const auto segments = copied(backend, device.seg_indptr.data(), device.seg_indptr.size_bytes(), host);
  const auto experts = copied(backend, device.weight_indices.data(), device.weight_indices.size_bytes(), host);
  const auto scale_a = copied(backend, device.scale_a.data(), device.scale_a.size_bytes(), host);
  const auto scale_b = copied(backend, device.scale_b.data(), device.scale_b.size_bytes(), host);
  for (const auto* one : {&a, &b, &c, &segments, &experts, &scale_a, &scale_b}) {
    if (!*one) return fail(one->error());
  }
  host.args.a.data = *a;
  host.args.b.data = *b;
  host.args.c.data = host.memory[2].data();
  host.args.seg_indptr = {static_cast<const std::int64_t*>(*segments), device.seg_indptr.size()};
  host.args.weight_indices = {static_cast<const std::int64_t*>(*experts), device.weight_indices.size()};
  host.args.scale_a = {static_cast<const float*>(*scale_a), device.scale_a.size()};
  host.args.scale_b = {static_cast<const float*>(*scale_b), device.scale_b.size()};
  return host;
}

bool is_poison(const GroupedGemmArgs& args, std::int64_t row) {
  const auto bytes = static_cast<std::size_t>(args.c.cols) * size_of(args.c.type);
  const auto* first = static_cast<const std::byte*>(args.c.data) + static_cast<std::size_t>(row) * bytes;
  return std::all_of(first, first + bytes, [](std::byte b) { return b == std::byte{0xff}; });
}

Result<double> error_of(const Backend& backend, const Problem& problem, const TileConfig& tile,
                        const RoutingSample& sample) {
  constexpr std::int64_t kRowsOutside = 2;  // poisoned, behind the last group
  const std::int64_t rows = sample.rows() + kRowsOutside;
  const auto tensors = Tensors::make(backend, problem, rows, 1);
  if (!tensors) return fail(tensors.error());
  const auto routing = PlacedRouting::make(backend, sample);
  if (!routing) return fail(routing.error());
  const GroupedGemmArgs args = tensors->args(*routing, rows);
  const auto prepared = backend.prepare(problem, {tile}, {types_of(args)});
  if (!prepared[0]) return fail(prepared[0].error());
  if (auto status = backend.run(problem, tile, args); !status) return fail(status.error());
  if (auto status = backend.synchronise(); !status) return fail(status.error());
  const auto host = to_host(backend, args);
  if (!host) return fail(host.error());
  for (std::int64_t row = sample.rows(); row < rows; ++row) {
    if (!is_poison(host->args, row)) return std::numeric_limits<double>::infinity();
  }
  return worst_error_over_bound(problem, host->args, reference_grouped_gemm(problem, host->args),
                                sum_error(problem, tile));
}

}  // namespace

Result<double> verify_tile(const Backend& backend, const Problem& problem, const TileConfig& tile) {
  const Problem small = cut(problem, tile);
  const std::int64_t last = small.experts - 1;
  const std::int64_t full = std::min(tile.block_size_m, 16);
  const RoutingSample one_row{{0, 1}, {last}};
  const RoutingSample ragged{{0, 3, 3, 3 + full + 1, 3 + full + 2}, {last, 0, 0, last}};  // with an empty group
  auto first = error_of(backend, small, tile, one_row);
  if (!first) return first;
  auto second = error_of(backend, small, tile, ragged);
  if (!second) return second;
  return std::max(*first, *second);
}

}  // namespace expertile
