#pragma once
// How an sm90 kernel divides its work, for host and device: what a copy takes, what a wgmma multiplies, when sums are
// promoted, and which warps bring scales. Where all of it lies in shared memory: sm90/shared_layout.hpp.
//
// A k-block is BLOCK_SIZE_K elements of K, what a stage holds. Of each operand it is a row of panels; a panel has all
// of the tile's rows and 128 bytes of each, the period of the swizzle, and is copied in boxes of some of the rows.

#include "tile_shape.hpp"

namespace expertile {

inline constexpr int kSwizzleBytes = 128;
constexpr int panel_elements(Storage storage) { return kSwizzleBytes / size_of(storage); }
constexpr int stage_panels(const KernelSpec& spec, Storage storage) {
  return spec.tile.block_size_k / panel_elements(storage);
}
// Elements of K that whole panels of both operands hold, a span: the unit of BLOCK_SIZE_K, and of promotion by block
// scales.
constexpr int span_elements(const KernelSpec& spec) {
  return panel_elements(size_of(spec.a) < size_of(spec.b) ? spec.a : spec.b);
}

// ---- warpgroups and tokens ----------------------------------------------------------------------------------------

// Tiles of so many tokens wait for products, smaller ones for memory alone.
constexpr bool has_large_tiles(const TileConfig& tile) {
  return tile.kernel == KernelFamily::sm90 && tile.block_size_m >= 96;
}
// Whether the tile scheduler is dynamic: a counter in global memory says which tile is next, where tiles are large and
// some of them cut short.
constexpr bool counts_tiles(const TileConfig& tile) { return has_large_tiles(tile) && k_splits(tile) == 1; }
// Whether no more of a tile's tokens are copied and multiplied than there are, about: few are not worth it, memory is
// the limit there.
constexpr bool cuts_tokens(const KernelSpec& spec) { return spec.tile.swap_ab == 0 || spec.tile.block_size_m >= 48; }
// Blocks of 64 rows of X per warpgroup.
constexpr int blocks_x(const TileConfig& tile) { return tile_x(tile) / 64 / warpgroups_per_tile(tile); }
// Warps that multiply a tile.
constexpr int consumer_warps(const TileConfig& tile) { return 4 * warpgroups_per_tile(tile); }

// tf32x3: whether residuals of the tokens stand beside them in a stage (sm90/residuals.hpp), and the warps that write
// them: those that fill the producer's warpgroup.
constexpr bool keeps_residuals(const KernelSpec& spec) {
  return spec.tile.kernel == KernelFamily::sm90 && spec.product == Product::tf32x3;
}
inline constexpr int kResidualWarps = 3;

// ---- boxes --------------------------------------------------------------------------------------------------------

// Rows of a box of A: of tokens that are cut, no more boxes are copied than there are tokens for; a cluster's blocks
// share them. Where they are not cut, one box per block.
constexpr int box_rows_a(const KernelSpec& spec) {
  const int m = spec.tile.block_size_m;
  if (!cuts_tokens(spec)) return m / spec.tile.cluster_size;
  const bool large = spec.tile.swap_ab == 0 || m >= 192 || (keeps_residuals(spec) && blocks_x(spec.tile) > 1);
  for (int rows = large ? 64 : 32; rows > 8; rows /= 2) {
    if (m % rows == 0) return rows;
  }
  return 8;  // the period of the swizzle
}
constexpr int box_rows_b(const KernelSpec& spec) { return spec.tile.block_size_n / spec.tile.cluster_m; }
// Rows of C that one bulk copy stores; and whether they can: rows begin and end at multiples of 16 bytes. (The copies
// cut a box off at the matrix's end no finer.)
inline constexpr int kBoxRowsC = 16;
constexpr bool can_store_boxes(Storage c, const KernelArgs& args) {
  return args.wide_stores != 0 && size_of(c) == 2 && args.n % 8 == 0;
}

// ---- what is multiplied -------------------------------------------------------------------------------------------

// The part of a warpgroup's tile that its wgmmas multiply: blocks of 64 rows, and columns.
struct MmaTile {
  int blocks = 0;
  int columns = 0;
};
// Where the tokens are the columns, a tile is multiplied by the narrowest of several forms that holds them: the next
// one wider than `columns`, or the whole tile. None is wider than the boxes that hold its tokens, and those of int8
// products have a multiple of 16 columns. Where tokens have residuals they are whole boxes: of more forms ptxas
// serialises the products, for want of registers.
constexpr int next_columns(const KernelSpec& spec, int columns) {
  const int all = tile_y(spec.tile);
  if (spec.tile.swap_ab == 0 || !cuts_tokens(spec)) return all;
  const int box = box_rows_a(spec);
  const bool wide = keeps_residuals(spec) || (box >= 32 && columns < all / 2);
  const int unit = wide ? box : box % 16 == 0 ? 16 : 8;
  return columns + unit < all ? columns + unit : all;
}

// Values that a weight in registers becomes: itself, or the two tf32 terms whose sum it is.
constexpr int weight_terms(Product product) { return product == Product::tf32x3 ? 2 : 1; }
// Steps of K whose weights are put into registers together, while those before are multiplied: as many as keep the
// tensor core busy for that long, 4 blocks of 64 rows at most, 32 registers for the two sets. Of terms, which have
// three products, half as many, so that a panel has two sets at least.
constexpr int register_steps(const KernelSpec& spec) {
  const int y = tile_y(spec.tile);
  const int blocks = (y <= 64 ? 4 : y <= 128 ? 2 : 1) / weight_terms(spec.product);
  const int steps = blocks / blocks_x(spec.tile);
  return steps < 1 ? 1 : steps;
}

// ---- promotion ----------------------------------------------------------------------------------------------------

// Whether the tensor core's sums are promoted on the way along K, into float32 totals beside them: for scales of
// blocks, and for e4m3, of whose sums the tensor core keeps 14 bits only. Those without block scales are promoted after
// so many elements (a multiple of any BLOCK_SIZE_K).
inline constexpr int kLongestSum = 512;
constexpr bool promotes(const KernelSpec& spec) {
  return spec.scaling == Scaling::block || spec.product == Product::e4m3;
}

// Where a tile's totals leave no room for as many sums beside them, it is multiplied in subtiles, one after the other:
// of 64 rows, and of so many columns where the weights are the columns.
inline constexpr int kSubtileColumns = 128;
constexpr bool has_subtiles(const KernelSpec& spec) {
  return promotes(spec) && !widens_weights(spec.product) && blocks_x(spec.tile) * tile_y(spec.tile) > 192;
}
constexpr MmaTile subtile_of(const KernelSpec& spec, MmaTile tile) {
  if (!has_subtiles(spec)) return tile;
  return {1, spec.tile.swap_ab != 0 ? tile.columns : kSubtileColumns};
}

// Whether sums are promoted after every span, and after how many elements of K else.
constexpr bool promotes_spans(const KernelSpec& spec) { return spec.scaling == Scaling::block || has_subtiles(spec); }
constexpr int summed_elements(const KernelSpec& spec) {
  return promotes_spans(spec) ? span_elements(spec) : kLongestSum;
}

// ---- block scales -------------------------------------------------------------------------------------------------

// Scales of blocks come with each span of a stage, by warps of their own: one per token of the tile, and of the weights
// one per so many columns: 64 where they are the tensor core's rows; else as many as never lie in two blocks, whichever
// tile it is.
constexpr bool has_scale_producers(const KernelSpec& spec) {
  return spec.tile.kernel == KernelFamily::sm90 && spec.scaling == Scaling::block;
}
constexpr int columns_per_scale(const KernelSpec& spec) {
  return spec.tile.swap_ab != 0 ? 64 : greatest_common_divisor(spec.tile.block_size_n, spec.block_n);
}
// Where the tokens are the columns there are many of their scales: they are read as they are needed.
constexpr bool reads_scales_late(const KernelSpec& spec) { return spec.tile.swap_ab != 0 && spec.scales_a; }
constexpr int token_scales(const KernelSpec& spec) { return spec.scales_a ? spec.tile.block_size_m : 0; }
constexpr int weight_scales(const KernelSpec& spec) {
  return ceil_divide(spec.tile.block_size_n, columns_per_scale(spec));
}
// Warps that bring them: a lane has three rows' at most.
constexpr int scale_warps(const KernelSpec& spec) {
  if (!has_scale_producers(spec)) return 0;
  const int wanted = ceil_divide(token_scales(spec) + weight_scales(spec), 64);
  return wanted < 3 ? wanted : 3;
}

}  // namespace expertile
