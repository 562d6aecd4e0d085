// Which tiles of Hopper's family are looked at, and which are worth timing.

#include <fmt/format.h>

#include <algorithm>

#include "kernel_shape.hpp"
#include "plan/distinct.hpp"
#include "plan/gpu/rows.hpp"
#include "plan/sm90/family.hpp"

namespace expertile::sm90 {
namespace {

using gpu::kBand;
constexpr std::int64_t kSharedBytes = std::int64_t{227} << 10;  // of a Hopper block

}  // namespace

TileConfig make_tile(int m, int n, int k, int warps, int swap_ab, int pingpong, int group) {
  TileConfig tile = gpu::make_tile(KernelFamily::sm90, m, n, k, warps, swap_ab, group);
  tile.pingpong = pingpong;
  return tile;
}

int stages_for(const Problem& problem, TileConfig tile, int blocks) {
  const auto bytes = [&](int stages) -> std::int64_t {
    tile.num_stages = stages;
    return smem_bytes(gpu::spec_of(problem, tile));
  };
  const std::int64_t beside = bytes(0);
  const std::int64_t most = (kSharedBytes / blocks - 1024 - beside) / (bytes(1) - beside);
  return static_cast<int>(std::clamp<std::int64_t>(most, 0, 16));
}

namespace {

// Tiles for few rows of a group.
void add_small(std::vector<TileConfig>& tiles, int k) {
  for (const int m : {8, 16, 24, 32, 48, 64}) {
    for (const int n : {64, 128, 256}) {
      for (const int warps : {4, 8}) tiles.push_back(make_tile(m, n, k, warps, 1));
    }
  }
}

// The same for fewer tiles than multiprocessors: several work on each.
void add_parts(std::vector<TileConfig>& tiles, int k) {
  for (const int m : {8, 16, 24, 32, 48, 64}) {
    for (const int n : {64, 128}) {
      for (const int parts : {2, 4, 8}) {
        tiles.push_back(make_tile(m, n, k, 4, 1));
        tiles.back().split_k = parts;
      }
    }
  }
}

// Tiles for many rows of a group, which take the 64-row side.
void add_straight(std::vector<TileConfig>& tiles, int k, int cluster, int group) {
  const auto add = [&](int m, int n, int warps, int pingpong) {
    tiles.push_back(make_tile(m, n, k, warps, 0, pingpong, group));
    tiles.back().cluster_size = cluster;
    if (cluster == 1) {
      tiles.push_back(tiles.back());
      tiles.back().cluster_m = 2;
      tiles.back().group_size_m = std::max(1, group / 2);  // pairs of row tiles
    }
  };
  for (const int m : {128, 64, 256, 192}) {
    for (const int n : {128, 256, 192, 160, 96, 64}) {
      for (const int pingpong : {0, 1}) add(m, n, 8, pingpong);
      add(m, n, 4, 0);
      if (m == 192) add(m, n, 12, 0);
    }
  }
}

// Tiles for many rows of a group, which are cut to the rows that there are.
void add_swapped(std::vector<TileConfig>& tiles, int k, int cluster, int group) {
  for (const int m : {128, 256, 160, 192, 96}) {
    for (const int n : {128, 256, 64}) {
      for (const int warps : {8, 4}) {
        tiles.push_back(make_tile(m, n, k, warps, 1, 0, group));
        tiles.back().cluster_size = cluster;
      }
    }
    tiles.push_back(make_tile(m, 192, k, 12, 1, 0, group));
    tiles.back().cluster_size = cluster;
  }
}

// A tile's numbers but the ring, in the order in which they are usually best.
std::vector<TileConfig> shapes(const Problem& problem) {
  std::vector<TileConfig> tiles;
  const KernelSpec any = gpu::spec_of(problem, {});
  const bool only_swapped = weights_in_registers(any.product);
  const int span = span_elements(any);
  for (const int k : {2 * span, span}) {  // long rows of weights where memory is the limit
    add_small(tiles, k);
    add_parts(tiles, k);
  }
  for (const int k : {span, 2 * span}) {
    for (const int cluster : {1, 2}) {
      for (const int group : {kBand, 1}) {
        if (!only_swapped) add_straight(tiles, k, cluster, group);
        add_swapped(tiles, k, cluster, group);
      }
    }
  }
  return tiles;
}

}  // namespace

std::vector<TileConfig> grid(const Problem& problem) {
  std::vector<TileConfig> tiles;
  // Where weights are widened a stage has twice as many products as else, where they are split three times as many.
  const int fewest_stages = weights_in_registers(gpu::spec_of(problem, {}).product) ? 2 : 3;
  for (TileConfig tile : shapes(problem)) {
    std::vector<TileConfig> of_shape;  // different numbers of blocks may leave room for as many stages
    for (const int blocks : {1, 2, 3, 4}) {
      tile.num_stages = stages_for(problem, tile, blocks);
      if (tile.num_stages >= fewest_stages) add_once(of_shape, tile);
    }
    tiles.insert(tiles.end(), of_shape.begin(), of_shape.end());
  }
  return tiles;
}

Refusal refuse_rows(const TileConfig& tile, double rows_a_group) { return gpu::refuse_rows(tile, rows_a_group, 64); }

Refusal refuse_parts(const Problem& problem, const TileConfig& tile, double rows_a_group, double active_groups,
                     const DeviceInfo& device) {
  if (tile.split_k == 1) return {};
  const double groups = std::max(1.0, active_groups);
  const double tiles = groups * gpu::expected_parts({std::max(1.0, rows_a_group), groups}, tile.block_size_m) *
                       static_cast<double>(ceil_div(problem.n, tile.block_size_n));
  if (tiles * tile.split_k / 2 >= device.gpu().multiprocessors) {
    return {tile, "SPLIT_K with enough tiles",
            fmt::format("SPLIT_K={}: {} parts of about {:.0f} tiles are enough for {} multiprocessors", tile.split_k,
                        tile.split_k / 2, tiles, device.gpu().multiprocessors)};
  }
  const std::int64_t slices = ceil_div(problem.k, tile.block_size_k);
  if (slices / 4 < tile.split_k) {
    return {tile, "SPLIT_K with a short K",
            fmt::format("SPLIT_K={} parts of K={}, which has {} slices of BLOCK_SIZE_K={}", tile.split_k, problem.k,
                        slices, tile.block_size_k)};
  }
  return {};
}

Refusal refuse(const Problem& problem, const TileConfig& tile, double rows_a_group, double active_groups,
               const DeviceInfo& device) {
  if (auto status = sm90::check_tile(problem, tile, device); !status) {
    return {tile, "does not fit the kernel or the device", status.error().message};
  }
  if (Refusal refusal = refuse_rows(tile, rows_a_group); !refusal.rule.empty()) return refusal;
  if (Refusal refusal = refuse_columns(problem, tile, 64); !refusal.rule.empty()) return refusal;
  if (tile.cluster_size > 1 && cluster_tile_n(tile) >= problem.n + tile.block_size_n) {
    return {tile, "more columns than N",
            fmt::format("CLUSTER_SIZE={} tiles of BLOCK_SIZE_N={} are a tile or more beyond N={}", tile.cluster_size,
                        tile.block_size_n, problem.n)};
  }
  if (tile.cluster_m > 1 && cluster_tile_m(tile) >= 2 * rows_a_group) {
    return {tile, "one row tile a group",
            fmt::format("CLUSTER_M={} with BLOCK_SIZE_M={} for {:.1f} rows of a group", tile.cluster_m,
                        tile.block_size_m, rows_a_group)};
  }
  if (Refusal refusal = gpu::refuse_short_band(tile, rows_a_group); !refusal.rule.empty()) return refusal;
  return refuse_parts(problem, tile, rows_a_group, active_groups, device);
}

}  // namespace expertile::sm90
