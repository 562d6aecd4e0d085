// Which tiles are looked at on a CPU, and which are worth timing.

#include <fmt/format.h>

#include <algorithm>

#include "plan/cpu/family.hpp"
#include "plan/tile_schema.hpp"

namespace expertile::cpu {
namespace {

constexpr int kLongestPanel = find_field("BLOCK_SIZE_K")->of(KernelFamily::cpu).most;

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

Refusal refuse(const Problem& problem, const TileConfig& tile, double rows_a_group, double /*active_groups*/,
               const DeviceInfo& device) {
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
  if (Refusal refusal = refuse_columns(problem, tile, 24); !refusal.rule.empty()) return refusal;
  if (tile.group_size_m > 1 && tile.block_size_m >= rows_a_group) {
    // With one row tile a group there is nothing to group.
    return {tile, "one row tile a group",
            fmt::format("GROUP_SIZE_M={} with BLOCK_SIZE_M={} for {:.1f} rows of a group", tile.group_size_m,
                        tile.block_size_m, rows_a_group)};
  }
  return {};
}

}  // namespace expertile::cpu
