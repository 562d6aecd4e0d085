#include "plan/sm90_tiles.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "kernel_figures.hpp"
#include "plan/gpu_model.hpp"
#include "plan/kernel_plan.hpp"
#include "plan/sm90_model.hpp"
#include "problem/sizes.hpp"

namespace expertile::sm90 {
namespace {

constexpr int kMostHeld = 208;          // registers a thread for sums, scales and weights; with more, ptxas spills
constexpr int kMostHeldSplit = 192;     // likewise where float32 is split; with more, ptxas serialises the products
constexpr int kMostHeldInTurns = 184;   // likewise of pingpong with scales of tokens and columns
constexpr int kMostHeldByTwelve = 132;  // of 12 warps, which have 152 registers a thread
using gpu_model::kBand;
constexpr std::int64_t kSharedBytes = std::int64_t{227} << 10;  // of a Hopper block

Status refused(const TileConfig& tile, const std::string& why) {
  return fail(ErrorCode::unsupported, fmt::format("{}: {}", describe(tile), why));
}

Status check_numbers(const TileConfig& tile) {
  if (const std::string wrong = wrong_field(tile); !wrong.empty()) return refused(tile, wrong);
  if (tile.pingpong != 0 && tile.num_warps != 8) return refused(tile, "PINGPONG=1 takes 8 warps, two warpgroups");
  if (tile.cluster_m > 1 && (tile.cluster_size > 1 || tile.split_k > 1 || tile.swap_ab != 0)) {
    return refused(tile, "CLUSTER_M=2 takes CLUSTER_SIZE=1, SPLIT_K=1 and SWAP_AB=0");
  }
  if (tile.split_k > 1 && tile.cluster_size > 1) {
    return refused(tile, "CLUSTER_SIZE must be 1 with SPLIT_K: the blocks of a cluster have one tile then");
  }
  if (tile.split_k > 1 && tile.pingpong != 0) {
    return refused(tile, "PINGPONG must be 0 with SPLIT_K: the blocks of a cluster hand over one tile at a time");
  }
  return {};
}

Status check_shape(const KernelSpec& spec) {
  const TileConfig& tile = spec.tile;
  if (holds_weights(spec.product) && tile.swap_ab == 0) {
    return refused(tile, fmt::format("SWAP_AB must be 1: {} in the registers of the tensor core's rows",
                                     widens_weights(spec.product) ? "int8 weights are widened"
                                                                  : "float32 weights are split into parts"));
  }
  const int x = tile_x(tile);
  const int y = tile_y(tile);
  if (x < 64 || x > 256 || x % (64 * sharers(tile)) != 0) {
    return refused(tile, fmt::format("{} must be a multiple of {} up to 256",
                                     tile.swap_ab != 0 ? "BLOCK_SIZE_N" : "BLOCK_SIZE_M", 64 * sharers(tile)));
  }
  const int unit = tile.swap_ab == 0 ? 32 : spec.product == Product::int8 && y > 32 ? 16 : 8;
  if (y < unit || y > 256 || y % unit != 0) {
    return refused(tile, fmt::format("{} must be a multiple of {} up to 256",
                                     tile.swap_ab != 0 ? "BLOCK_SIZE_M" : "BLOCK_SIZE_N", unit));
  }
  if (tile.block_size_m % (8 * tile.cluster_size) != 0) {  // the period of the swizzle is 8 rows
    return refused(tile, fmt::format("BLOCK_SIZE_M must be a multiple of {}, 8 for each block of the cluster",
                                     8 * tile.cluster_size));
  }
  // 12 warps have 128 registers a thread at the launch, and the compiler takes no product that needs more.
  const int widest = holds_weights(spec.product) ? 64 : 192;
  if (tile.num_warps == 12 && y > widest) {
    return refused(tile, fmt::format("{} must be at most {} with num_warps=12, for which there are fewer registers",
                                     tile.swap_ab != 0 ? "BLOCK_SIZE_M" : "BLOCK_SIZE_N", widest));
  }
  const int span = span_elements(spec);
  const int longest = 4 * std::min(box_elements(spec.a), box_elements(spec.b));
  if (tile.block_size_k < span || tile.block_size_k > longest || tile.block_size_k % span != 0) {
    return refused(tile, fmt::format("BLOCK_SIZE_K must be a multiple of {} elements up to {}", span, longest));
  }
  if (in_pieces(spec) && tile.swap_ab == 0 && spec.scaling == Scaling::block) {
    return refused(tile, "SWAP_AB must be 1: with the tokens on the rows, their scales leave too few registers");
  }
  if (in_pieces(spec) && tile.swap_ab == 0 && y % kPieceColumns != 0) {
    return refused(
        tile, fmt::format("BLOCK_SIZE_N must be a multiple of {} where a tile is multiplied in pieces", kPieceColumns));
  }
  return {};
}

TileConfig make_tile(int m, int n, int k, int warps, int swap_ab, int pingpong = 0, int group = kBand) {
  TileConfig tile;
  tile.block_size_m = m;
  tile.block_size_n = n;
  tile.block_size_k = k;
  tile.group_size_m = group;
  tile.num_warps = warps;
  tile.swap_ab = swap_ab;
  tile.pingpong = pingpong;
  tile.kernel = KernelFamily::sm90;
  return tile;
}

TileConfig in_pairs(TileConfig tile) {
  tile.cluster_size = 2;
  return tile;
}

// The ring that lets so many blocks share a multiprocessor.
int stages_for(const Problem& problem, TileConfig tile, int blocks) {
  const auto bytes = [&](int stages) -> std::int64_t {
    tile.num_stages = stages;
    return smem_bytes(spec_of(problem, tile));
  };
  const std::int64_t beside = bytes(0);
  const std::int64_t most = (kSharedBytes / blocks - 1024 - beside) / (bytes(1) - beside);
  return static_cast<int>(std::clamp<std::int64_t>(most, 0, 16));
}

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
  const KernelSpec any = spec_of(problem, {});
  const bool only_swapped = holds_weights(any.product);
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

bool supports(const Problem& problem, const DeviceInfo& device) {
  if (!device.is_gpu() || device.gpu().compute_capability != 90) return false;
  const KernelSpec spec = spec_of(problem, {});
  if (!allows_wide_loads(problem, activation_type(problem.dtype))) return false;
  // Boxes of both operands lie in one block of scales, and so do 64 rows of weights.
  return spec.scaling != Scaling::block || (spec.block_k % span_elements(spec) == 0 && spec.block_n % 64 == 0);
}

Status check_tile(const Problem& problem, const TileConfig& tile, const DeviceInfo& device) {
  if (!supports(problem, device)) {
    return refused(tile, fmt::format("kernel=sm90 does not run {} with these scales and K={} on {}",
                                     name(problem.dtype), problem.k, device.name));
  }
  if (auto status = check_numbers(tile); !status) return status;
  const KernelSpec spec = spec_of(problem, tile);
  if (auto status = check_shape(spec); !status) return status;
  if (smem_bytes(spec) > device.gpu().shared_bytes_per_block) {
    return refused(tile, fmt::format("needs {} KiB of shared memory, {} has {} KiB", (smem_bytes(spec) + 1023) >> 10,
                                     device.name, device.gpu().shared_bytes_per_block >> 10));
  }
  const bool scales_turns = tile.pingpong != 0 && spec.scaling == Scaling::per_token_channel;
  const int most = tile.num_warps == 12  ? kMostHeldByTwelve
                   : splits_tokens(spec) ? kMostHeldSplit
                   : scales_turns        ? kMostHeldInTurns
                                         : kMostHeld;
  if (tiled_registers(spec) > most) {
    return refused(tile, fmt::format("needs {} registers a thread for sums, scales and weights, {} are allowed",
                                     tiled_registers(spec), most));
  }
  return {};
}

std::vector<TileConfig> grid(const Problem& problem) {
  std::vector<TileConfig> tiles;
  // Where weights are widened a stage has twice as many products as else, where they are split three times as many.
  const int fewest_stages = holds_weights(spec_of(problem, {}).product) ? 2 : 3;
  for (TileConfig tile : shapes(problem)) {
    std::vector<int> known;
    for (const int blocks : {1, 2, 3, 4}) {
      tile.num_stages = stages_for(problem, tile, blocks);
      if (tile.num_stages < fewest_stages || std::find(known.begin(), known.end(), tile.num_stages) != known.end())
        continue;
      known.push_back(tile.num_stages);
      tiles.push_back(tile);
    }
  }
  return tiles;
}

namespace {

bool has_too_many_rows(const TileConfig& tile, double rows_a_group) {
  return tile.block_size_m > 64 && tile.block_size_m > 4 * rows_a_group;
}

// Of the built-in tiles, those for so many rows a group. The model takes tiles to be equal where memory is the limit;
// but of the small ones most groups would have two row tiles or more, which read their weights from the L2 as often,
// and of large ones nearly all would be empty.
bool suits(const TileConfig& tile, double rows_a_group) {
  const int m = tile.block_size_m;
  if (m < 32) return m >= gpu_model::kOneRowTile * rows_a_group;
  return m == 32 || (m <= 8 * rows_a_group && !has_too_many_rows(tile, rows_a_group));
}

// Parts of K are for multiprocessors that would have no tile, and each is to keep its ring busy.
Refusal refuse_parts(const Problem& problem, const TileConfig& tile, double rows_a_group, double active_groups,
                     const DeviceInfo& device) {
  if (tile.split_k == 1) return {};
  const double groups = std::max(1.0, active_groups);
  const double tiles = groups * gpu_model::expected_parts({std::max(1.0, rows_a_group), groups}, tile.block_size_m) *
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

// Small tiles share a multiprocessor, two or, in clusters of four, for which not all multiprocessors have room, three;
// fewer, where the ring would be too short. But of a pair of parts of K each block has one to itself.
int built_in_stages(const Problem& problem, const TileConfig& tile) {
  constexpr int kFewest = 3;
  const bool is_small = tile.block_size_m * tile.block_size_n <= 64 * 128;
  for (int blocks = !is_small || tile.split_k == 2 ? 1 : tile.split_k == 4 ? 3 : 2; blocks > 1; --blocks) {
    if (const int stages = stages_for(problem, tile, blocks); stages >= kFewest) return stages;
  }
  return stages_for(problem, tile, 1);
}

// Each is the best, or within 5% of it, where some model was measured. Where memory is the limit, rows of 256 bytes are
// better than many stages.
std::vector<TileConfig> built_in_for_many_tokens(const KernelSpec& any) {
  const int span = span_elements(any);
  if (any.product == Product::tf32x3) {
    return {make_tile(64, 256, span, 8, 1), make_tile(128, 256, span, 8, 1), in_pairs(make_tile(96, 256, span, 8, 1))};
  }
  if (widens_weights(any.product)) {
    const TileConfig pair = in_pairs(make_tile(192, 128, span, 8, 1));
    if (promotes(any)) return {make_tile(64, 128, span, 4, 1), make_tile(128, 128, span, 8, 1), pair};
    return {make_tile(64, 128, span, 4, 1), make_tile(64, 256, 2 * span, 8, 1), make_tile(128, 256, span, 8, 1), pair};
  }
  const TileConfig straight = promotes(any)                  ? make_tile(192, 128, span, 12, 0)
                              : any.product == Product::int8 ? make_tile(128, 128, span, 8, 0, 1)
                                                             : make_tile(192, 128, span, 8, 0, 1);
  return {make_tile(64, 128, 2 * span, 8, 1),
          make_tile(128, 128, 2 * span, 8, 1),
          make_tile(128, 192, span, 8, 0),
          in_pairs(make_tile(128, 192, span, 8, 0)),
          in_pairs(make_tile(256, 128, span, 8, 0)),
          in_pairs(straight),
          in_pairs(make_tile(promotes(any) ? 192 : 256, 128, span, 8, 1)),
          in_pairs(make_tile(160, 256, span, 8, 1)),
          make_tile(160, 128, span, 8, 1)};
}

}  // namespace

Refusal refuse(const Problem& problem, const TileConfig& tile, double rows_a_group, double active_groups,
               const DeviceInfo& device) {
  if (auto status = sm90::check_tile(problem, tile, device); !status) {
    return {tile, "does not fit the kernel or the device", status.error().message};
  }
  if (has_too_many_rows(tile, rows_a_group)) {
    return {tile, "more rows than a group has",
            fmt::format("BLOCK_SIZE_M={} is more than four times the {:.1f} rows of a group", tile.block_size_m,
                        rows_a_group)};
  }
  if (tile.block_size_n > 64 && tile.block_size_n >= 2 * problem.n) {
    return {tile, "more columns than N",
            fmt::format("BLOCK_SIZE_N={} is twice or more N={}", tile.block_size_n, problem.n)};
  }
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
  if (Refusal refusal = gpu_model::refuse_short_band(tile, rows_a_group); !refusal.rule.empty()) return refusal;
  return refuse_parts(problem, tile, rows_a_group, active_groups, device);
}

TileConfig built_in_tile(const std::vector<TileConfig>& tiles, const Problem& problem, std::int64_t rows,
                         const DeviceInfo& device) {
  const double rows_a_group = static_cast<double>(rows) / gpu_model::groups_with_rows(problem, rows);
  std::vector<TileConfig> suitable;
  std::copy_if(tiles.begin(), tiles.end(), std::back_inserter(suitable),
               [&](const TileConfig& tile) { return suits(tile, rows_a_group); });
  return gpu_model::fastest(suitable.empty() ? tiles : suitable, sm90::estimate_seconds, problem, rows, device);
}

std::vector<TileConfig> built_in_tiles(const Problem& problem, const DeviceInfo& device) {
  const KernelSpec any = spec_of(problem, {});
  const int span = span_elements(any);
  std::vector all{make_tile(8, 64, 2 * span, 4, 1), make_tile(16, 64, 2 * span, 4, 1),
                  make_tile(32, 64, 2 * span, 4, 1)};
  const std::vector<TileConfig> more = built_in_for_many_tokens(any);
  all.insert(all.end(), more.begin(), more.end());
  // Those for few tiles, where a call with the fewest rows has so few.
  const double fewest_groups = static_cast<double>(std::min(problem.top_k, problem.experts));
  for (const int m : {8, 32}) {
    for (const int parts : {2, 4}) {
      TileConfig tile = make_tile(m, 64, 2 * span, 4, 1);
      tile.split_k = parts;
      if (refuse_parts(problem, tile, 1, fewest_groups, device).rule.empty()) all.push_back(tile);
    }
  }
  std::vector<TileConfig> tiles;
  for (TileConfig& tile : all) {
    tile.num_stages = built_in_stages(problem, tile);
    if (sm90::check_tile(problem, tile, device)) tiles.push_back(tile);
  }
  return tiles;
}

}  // namespace expertile::sm90
