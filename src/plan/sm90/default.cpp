// What runs of Hopper's family where no file was tuned.

#include <algorithm>
#include <iterator>

#include "kernel_shape.hpp"
#include "plan/sm90/family.hpp"

namespace expertile::sm90 {
namespace {

TileConfig in_pairs(TileConfig tile) {
  tile.cluster_size = 2;
  return tile;
}

// Of the built-in tiles, those for so many rows a group. The model takes tiles to be equal where memory is the limit;
// but of the small ones most groups would have two row tiles or more, which read their weights from the L2 as often,
// and of large ones nearly all would be empty.
bool suits(const TileConfig& tile, double rows_a_group) {
  const int m = tile.block_size_m;
  if (m < 32) return m >= gpu::kOneRowTile * rows_a_group;
  return m == 32 || (m <= 8 * rows_a_group && refuse_rows(tile, rows_a_group).rule.empty());
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

TileConfig built_in_tile(const std::vector<TileConfig>& tiles, const Problem& problem, std::int64_t rows,
                         const DeviceInfo& device) {
  const double rows_a_group = static_cast<double>(rows) / gpu::groups_with_rows(problem, rows);
  std::vector<TileConfig> suitable;
  std::copy_if(tiles.begin(), tiles.end(), std::back_inserter(suitable),
               [&](const TileConfig& tile) { return suits(tile, rows_a_group); });
  return gpu::fastest(suitable.empty() ? tiles : suitable, sm90::estimate_seconds, problem, rows, device);
}

std::vector<TileConfig> built_in_tiles(const Problem& problem, const DeviceInfo& device) {
  const KernelSpec any = gpu::spec_of(problem, {});
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
