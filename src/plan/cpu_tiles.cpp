#include "plan/cpu_tiles.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace expertile::cpu {
namespace {

constexpr int kLongestPanel = find_field("BLOCK_SIZE_K")->of(KernelFamily::cpu).most;
constexpr std::int64_t kMostScratch = std::int64_t{64} << 20;

// Bytes of scratch a thread needs for a tile: packed panels of A and B and the accumulators.
std::int64_t scratch_bytes(const TileConfig& tile) {
  const std::int64_t m = tile.block_size_m;
  const std::int64_t n = tile.block_size_n;
  const std::int64_t panel = ceil_div(tile.block_size_k, 32) * 32;
  return 4 * panel * (m + n) + 8 * m * n + 4 * n;  // float panels of A and B, double accumulators, one row out
}

// Panel lengths worth trying: powers of two, and the whole of K, which needs no second pass over the accumulators.
std::vector<int> panel_lengths(std::int64_t k) {
  std::vector<int> lengths;
  for (const int length : {256, 512, 1024, 2048, 4096}) {
    if (length < k) lengths.push_back(length);
  }
  lengths.push_back(static_cast<int>(std::min<std::int64_t>(k, kLongestPanel)));
  return lengths;
}

}  // namespace

std::vector<TileConfig> grid(const Problem& problem) {
  std::vector<TileConfig> tiles;
  for (const int m : {4, 8, 16, 32, 64, 128}) {
    for (const int n : {24, 48, 96, 192}) {
      for (const int k : panel_lengths(problem.k)) {
        for (const int group : {1, 4}) {
          TileConfig tile;
          tile.block_size_m = m;
          tile.block_size_n = n;
          tile.block_size_k = k;
          tile.group_size_m = group;
          tiles.push_back(tile);
        }
      }
    }
  }
  return tiles;
}

// Why a tile that could run is not worth timing; an empty rule means that it is.
Refusal refuse(const Problem& problem, const TileConfig& tile, double rows_a_group, const DeviceInfo& device) {
  if (scratch_bytes(tile) > device.cpu().l2_bytes_core) {
    // Panels that leave the L2 between packing and multiplying are read from memory twice.
    return {tile, "scratch larger than L2",
            fmt::format("{} needs {} KiB of scratch a thread, {} has {} KiB of L2", describe(tile),
                        scratch_bytes(tile) >> 10, device.name, device.cpu().l2_bytes_core >> 10)};
  }
  if (tile.block_size_m > 8 && tile.block_size_m >= 2 * rows_a_group) {
    // Half of the tile's rows would never be filled, and a smaller tile does the same work.
    return {
        tile, "more rows than a group has",
        fmt::format("BLOCK_SIZE_M={} is twice or more the {:.1f} rows of a group", tile.block_size_m, rows_a_group)};
  }
  if (tile.block_size_n >= 2 * problem.n && tile.block_size_n > 24) {
    return {tile, "more columns than N",
            fmt::format("BLOCK_SIZE_N={} is twice or more N={}", tile.block_size_n, problem.n)};
  }
  if (tile.group_size_m > 1 && tile.block_size_m >= rows_a_group) {
    // With one row tile a group there is nothing to group.
    return {tile, "one row tile a group",
            fmt::format("GROUP_SIZE_M={} with BLOCK_SIZE_M={} for {:.1f} rows of a group", tile.group_size_m,
                        tile.block_size_m, rows_a_group)};
  }
  return {};
}

Status check_tile(const Problem& problem, const TileConfig& tile) {
  if (std::string wrong = wrong_field(tile); !wrong.empty()) return fail(ErrorCode::invalid_argument, std::move(wrong));
  TileConfig used = tile;  // a panel never gets longer than K
  used.block_size_k = static_cast<int>(std::min<std::int64_t>(tile.block_size_k, problem.k));
  if (scratch_bytes(used) > kMostScratch) {
    return fail(ErrorCode::unsupported,
                fmt::format("{} needs {} MiB of scratch a thread, at most {} MiB is allowed", describe(tile),
                            ceil_div(scratch_bytes(used), std::int64_t{1} << 20), kMostScratch >> 20));
  }
  return {};
}

std::vector<TileConfig> built_in_tiles(const Problem& problem, const DeviceInfo& device) {
  std::vector<TileConfig> different;
  for (int step = 0; step < kRowSteps; ++step) {
    const TileConfig tile = cpu::built_in_tile(problem, rows_of_step(step), device);
    if (std::find(different.begin(), different.end(), tile) == different.end()) different.push_back(tile);
  }
  return different;
}

TileConfig built_in_tile(const Problem& problem, std::int64_t rows, const DeviceInfo& device) {
  // Rows an expert, as if routing were even; the heuristic sees no histogram.
  const std::int64_t active = std::clamp<std::int64_t>(rows, 1, problem.experts);
  const std::int64_t each = ceil_div(std::max<std::int64_t>(rows, 1), active);
  TileConfig tile;
  // Routing is uneven: a mean of 4 rows means groups of 8. Few rows pay for the end of each panel, so their panels are
  // as long as the L2 allows; many rows reuse a shorter panel while it is in the L2. Weights that are multiplied where
  // they lie want their rows of A in the L1 instead.
  const bool few = each <= 8;
  const bool in_place = few && each > 2 && problem.dtype == DType::bfloat16 && !problem.block_shape;
  tile.block_size_m = each <= 2 ? 4 : few ? 8 : each <= 24 ? 16 : each <= 48 ? 32 : 64;
  tile.block_size_n = in_place ? 24 : few ? 48 : 96;
  tile.block_size_k = static_cast<int>(std::min<std::int64_t>(problem.k, few && !in_place ? 4096 : 1024));
  while (scratch_bytes(tile) > device.cpu().l2_bytes_core && tile.block_size_k > 64) tile.block_size_k /= 2;
  return tile;
}

}  // namespace expertile::cpu
