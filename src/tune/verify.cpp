#include "tune/verify.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "backend/reference.hpp"
#include "plan/kernel_plan.hpp"
#include "tile_shape.hpp"
#include "tune/tensors.hpp"

namespace expertile {
namespace {

// A case to verify a tile with: a problem cut small enough for the reference to take milliseconds, and its groups.
struct Case {
  Problem problem;
  RoutingSample groups;
  int every = 1;  // element of C that is compared with the reference, see reference_grouped_gemm
};

// As much of `whole` as is wanted, a multiple of the same powers of two (up to `most`), so that the kernel verified,
// its copies and its stores are those timed.
std::int64_t like(std::int64_t whole, std::int64_t wanted, std::int64_t most) {
  std::int64_t step = 1;
  while (step < most && whole % (2 * step) == 0) step *= 2;
  std::int64_t steps = ceil_div(wanted, step);
  if (step < most && steps % 2 == 0) ++steps;
  return std::min(whole, steps * step);
}

// Past the last stage, so that the ring's first one is filled again.
std::int64_t short_k(const Problem& problem, const TileConfig& tile) {
  return like(problem.k, std::min<std::int64_t>(std::int64_t{tile.block_size_k} * tile.num_stages + 37, 1100), 32);
}

// One tile and an edge, of columns whose number is odd where that can be: a tile's slow stores. Every element of C.
Case ragged_case(const Problem& problem, const TileConfig& tile) {
  Case one{problem, {}, 1};
  one.problem.experts = std::min<std::int64_t>(problem.experts, 3);
  one.problem.n = std::min<std::int64_t>({problem.n, tile.block_size_n + 5, 201});
  one.problem.k = short_k(problem, tile);
  const std::int64_t last = one.problem.experts - 1;
  const std::int64_t full = std::min(tile.block_size_m, 16);
  one.groups = {{0, 3, 3, 3 + full + 1, 3 + full + 2}, {last, 0, 0, last}};  // with an empty group
  return one;
}

// More than a whole row tile and a whole column tile of a cluster, so that every warp, every block and every store of
// whole lines has work; N as aligned as the problem's. In each row every eighth element is compared, in the next row
// the one beside it: no eight columns of a row, and no eight rows of a column, can be wrong unseen. All must be
// written.
Case large_case(const Problem& problem, const TileConfig& tile) {
  Case one{problem, {}, 8};
  one.problem.experts = std::min<std::int64_t>(problem.experts, 2);
  one.problem.n = like(problem.n, cluster_tile_n(tile) + tile.block_size_n / 2 + 1, 32);
  one.problem.k = short_k(problem, tile);
  const std::int64_t last = one.problem.experts - 1;
  const std::int64_t first = cluster_tile_m(tile) + tile.block_size_m / 2 + 3;
  const std::int64_t second = first + std::max(tile.block_size_m - 1, 1);
  one.groups = {{0, first, first, second, second + 1}, {last, 0, 0, last}};
  return one;
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

Result<double> error_of(const Backend& backend, const TileConfig& tile, const Case& one) {
  const auto& [problem, sample, every] = one;
  constexpr std::int64_t kRowsOutside = 2;  // poisoned, behind the last group
  const std::int64_t rows = sample.rows() + kRowsOutside;
  const auto tensors = Tensors::make(backend, problem, rows, 1);
  if (!tensors) return fail(tensors.error());
  const auto routing = PlacedRouting::make(backend, sample);
  if (!routing) return fail(routing.error());
  const GroupedGemmArgs args = tensors->args(*routing, rows);
  const auto plan = backend.plan(problem, {tile}, {types_of(args)}).front();
  if (!plan) return fail(plan.error());
  if (auto status = backend.run(**plan, args); !status) return fail(status.error());
  if (auto status = backend.synchronise(); !status) return fail(status.error());
  const auto host = to_host(backend, args);
  if (!host) return fail(host.error());
  for (std::int64_t row = sample.rows(); row < rows; ++row) {
    if (!is_poison(host->args, row)) return std::numeric_limits<double>::infinity();
  }
  return worst_error_over_bound(problem, host->args, reference_grouped_gemm(problem, host->args, every),
                                sum_error(problem, tile));
}

}  // namespace

Result<double> verify_tile(const Backend& backend, const Problem& problem, const TileConfig& tile) {
  const Case ragged = ragged_case(problem, tile);
  Case one_row = ragged;
  one_row.groups = {{0, 1}, {ragged.problem.experts - 1}};
  double worst = 0;
  for (const Case& one : {one_row, ragged, large_case(problem, tile)}) {
    const auto error = error_of(backend, tile, one);
    if (!error || *error > 1) return error;
    worst = std::max(worst, *error);
  }
  return worst;
}

}  // namespace expertile
