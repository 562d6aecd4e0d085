#pragma once
// Figures of an sm90 kernel that host and device must agree on: boxes, stages, sums, scales, and where all of it lies
// in shared memory.

#include "tile_figures.hpp"

namespace expertile {

// What one bulk copy takes of a row, and the period of its swizzle.
inline constexpr int kBoxBytes = 128;
// Tiles of so many tokens wait for products, smaller ones for memory alone.
constexpr bool has_large_tiles(const TileConfig& tile) {
  return tile.kernel == KernelFamily::sm90 && tile.block_size_m >= 96;
}
// Whether no more of a tile's tokens are copied and multiplied than there are, about: few are not worth it, memory is
// the limit there.
constexpr bool cuts_tokens(const KernelSpec& spec) { return spec.tile.swap_ab == 0 || spec.tile.block_size_m >= 48; }
// Blocks of 64 rows of X a warpgroup.
constexpr int blocks_x(const TileConfig& tile) { return tile_x(tile) / 64 / sharers(tile); }
// sm90's tf32x3: whether the tokens' small parts stand beside them in a stage. The tensor core reads float32 as it lies
// and cuts off what tf32 has no bits for, so that the tokens themselves are their large parts: nothing but the small
// ones is written to shared memory, by warps that do nothing else.
constexpr bool splits_tokens(const KernelSpec& spec) {
  return spec.tile.kernel == KernelFamily::sm90 && spec.product == Product::tf32x3;
}
inline constexpr int kSplittingWarps = 3;  // those that fill the copying warp's warpgroup
// Rows of a box of A: tokens come in pieces, which a cluster's blocks take in turns. Where they are not cut, one piece
// a block.
constexpr int box_rows_a(const KernelSpec& spec) {
  const int m = spec.tile.block_size_m;
  if (!cuts_tokens(spec)) return m / spec.tile.cluster_size;
  const bool large = spec.tile.swap_ab == 0 || m >= 192 || (splits_tokens(spec) && blocks_x(spec.tile) > 1);
  for (int rows = large ? 64 : 32; rows > 8; rows /= 2) {
    if (m % rows == 0) return rows;
  }
  return 8;  // the period of the swizzle
}
constexpr int box_rows_b(const KernelSpec& spec) { return spec.tile.block_size_n / spec.tile.cluster_m; }
// Elements of K in a box of an operand, and its boxes that make a stage.
constexpr int box_elements(Storage storage) { return kBoxBytes / size_of(storage); }
constexpr int stage_boxes(const KernelSpec& spec, Storage storage) {
  return spec.tile.block_size_k / box_elements(storage);
}
// Elements of K that whole boxes of both operands hold: the unit of BLOCK_SIZE_K, and what sums are taken over in where
// they are promoted.
constexpr int span_elements(const KernelSpec& spec) {
  return box_elements(size_of(spec.a) < size_of(spec.b) ? spec.a : spec.b);
}

// Registers of a thread that hold weights for 16 rows and one step of K: values, or the parts of values.
constexpr int held_parts(Product product) { return product == Product::tf32x3 ? 2 : 1; }

// Steps of K whose weights are put into registers together, while those before are multiplied: as many as keep the
// tensor core busy for that long, 4 blocks of 64 rows at most, 32 registers for the two sets. Of parts, which have
// three products, half as many, so that a box has two sets at least.
constexpr int held_steps(const KernelSpec& spec) {
  const int y = tile_y(spec.tile);
  const int blocks = (y <= 64 ? 4 : y <= 128 ? 2 : 1) / held_parts(spec.product);
  const int steps = blocks / blocks_x(spec.tile);
  return steps < 1 ? 1 : steps;
}

// What part of a tile has tokens, and so is multiplied: blocks of 64 rows of a warpgroup, and columns.
struct Extent {
  int blocks = 0;
  int columns = 0;
};
// Where the tokens are the columns, a tile is multiplied by the narrowest of several forms that holds them: the next
// one wider than `columns`, or the whole tile. None is wider than the pieces that hold its tokens, and those of int8
// products have a multiple of 16 columns. Where tokens are split they are whole pieces: of more forms ptxas serialises
// the products, for want of registers.
constexpr int next_columns(const KernelSpec& spec, int columns) {
  const int all = tile_y(spec.tile);
  if (spec.tile.swap_ab == 0 || !cuts_tokens(spec)) return all;
  const int piece = box_rows_a(spec);
  const bool wide = splits_tokens(spec) || (piece >= 32 && columns < all / 2);
  const int unit = wide ? piece : piece % 16 == 0 ? 16 : 8;
  return columns + unit < all ? columns + unit : all;
}

// Whether sums leave the tensor core's registers on the way along K, into float32 beside them: for scales of blocks,
// and for e4m3, of whose sums the tensor core keeps 14 bits only. Those without block scales leave after so many
// elements (a multiple of any BLOCK_SIZE_K).
inline constexpr int kLongestSum = 512;
constexpr bool promotes(const KernelSpec& spec) {
  return spec.scaling == Scaling::block || spec.product == Product::e4m3;
}

// Where a tile's totals leave no room for as many sums beside them, it is multiplied in pieces, one after the other:
// blocks of 64 rows, and of so many columns where the weights are the columns.
inline constexpr int kPieceColumns = 128;
constexpr bool in_pieces(const KernelSpec& spec) {
  return promotes(spec) && !widens_weights(spec.product) && blocks_x(spec.tile) * tile_y(spec.tile) > 192;
}
constexpr Extent piece_of(const KernelSpec& spec, Extent extent) {
  if (!in_pieces(spec)) return extent;
  return {1, spec.tile.swap_ab != 0 ? extent.columns : kPieceColumns};
}

// Whether sums are taken over after every span, and after how many elements of K else: where they are promoted.
constexpr bool promotes_spans(const KernelSpec& spec) { return spec.scaling == Scaling::block || in_pieces(spec); }
constexpr int summed_elements(const KernelSpec& spec) {
  return promotes_spans(spec) ? span_elements(spec) : kLongestSum;
}

// Scales of blocks that warps of their own bring along with each span of a stage: of every token of the tile, and of
// the weights, of so many columns each: 64 where they are the tensor core's rows; else as many as never lie in two
// blocks, whichever tile it is.
constexpr bool brings_scales(const KernelSpec& spec) {
  return spec.tile.kernel == KernelFamily::sm90 && spec.scaling == Scaling::block;
}
constexpr int columns_a_scale(const KernelSpec& spec) {
  return spec.tile.swap_ab != 0 ? 64 : greatest_common_divisor(spec.tile.block_size_n, spec.block_n);
}
// Where the tokens are the columns there are many of their scales: they are read as they are needed.
constexpr bool reads_scales_late(const KernelSpec& spec) { return spec.tile.swap_ab != 0 && spec.scales_a; }
constexpr int token_scales(const KernelSpec& spec) { return spec.scales_a ? spec.tile.block_size_m : 0; }
constexpr int weight_scales(const KernelSpec& spec) {
  return ceil_divide(spec.tile.block_size_n, columns_a_scale(spec));
}
// Warps that bring them: a lane has three rows' at most.
constexpr int scale_warps(const KernelSpec& spec) {
  if (!brings_scales(spec)) return 0;
  const int wanted = ceil_divide(token_scales(spec) + weight_scales(spec), 64);
  return wanted < 3 ? wanted : 3;
}
constexpr int span_scale_bytes(const KernelSpec& spec) {
  return brings_scales(spec) ? ceil_divide(token_scales(spec) + weight_scales(spec), 4) * 16 : 0;
}

// A stage: the boxes of A, as many bytes of small parts where there are any, and the boxes of B.
constexpr int tiled_stage_bytes(const KernelSpec& spec) {
  return (splits_tokens(spec) ? 2 : 1) * stage_bytes_a(spec) + stage_bytes_b(spec);
}
// Its barriers: `full`, `empty`, and `split` where there are small parts.
constexpr int stage_barrier_bytes(const KernelSpec& spec) { return splits_tokens(spec) ? 24 : 16; }

// Shared memory of an sm90 block: the ring with its barriers, two of the warpgroups that take turns, the tiles of the
// next turns, and the scales; where blocks multiply parts of K, two barriers and the others' sums of the columns that
// this block writes, 16 bytes a lane, column and block of 64 rows; the slabs.
constexpr int turns_offset(const KernelSpec& spec) {
  return spec.tile.num_stages * (tiled_stage_bytes(spec) + stage_barrier_bytes(spec));
}
// The tiles of so many turns, each of 32 bytes with two barriers, and the warps that read one.
inline constexpr int kToldTiles = 4;
inline constexpr int kToldBytes = 48;
constexpr int told_offset(const KernelSpec& spec) { return ceil_divide(turns_offset(spec) + 16, 16) * 16; }
constexpr int listening_warps(const KernelSpec& spec) {
  const int multiplying = spec.tile.pingpong != 0 ? 4 : spec.tile.num_warps;
  return multiplying + scale_warps(spec) + (splits_tokens(spec) ? kSplittingWarps : 0);
}
// Whether a counter says which tile is next: where tiles are large, and some of them cut short. And the number that the
// first block of a cluster sends the others, with two barriers.
constexpr bool counts_taken(const TileConfig& tile) { return has_large_tiles(tile) && parts_of_k(tile) == 1; }
constexpr int numbers_offset(const KernelSpec& spec) { return told_offset(spec) + kToldTiles * kToldBytes; }
constexpr int numbers_bytes(const KernelSpec& spec) {
  return counts_taken(spec.tile) && cluster_blocks(spec.tile) > 1 ? 32 : 0;
}
constexpr int scales_offset(const KernelSpec& spec) { return numbers_offset(spec) + numbers_bytes(spec); }
constexpr int stage_scale_bytes(const KernelSpec& spec) {
  return spec.tile.block_size_k / span_elements(spec) * span_scale_bytes(spec);
}
constexpr int exchange_offset(const KernelSpec& spec) {
  return ceil_divide(scales_offset(spec) + spec.tile.num_stages * stage_scale_bytes(spec), 16) * 16;
}
constexpr int exchange_bytes(const KernelSpec& spec) {
  const int others = parts_of_k(spec.tile) - 1;
  if (others <= 0) return 0;
  return 16 + others * columns_a_part(spec.tile) * blocks_x(spec.tile) * 32 * spec.tile.num_warps * 16;
}

// Slabs for what is written of C in 16 bits, 128 bytes of each of so many rows: 16 where the tokens are the tensor
// core's rows, and a warp fills one; else those of 64 tokens at most, and a warpgroup does.
constexpr int slab_rows(const KernelSpec& spec) {
  const int m = spec.tile.block_size_m;
  return spec.tile.swap_ab == 0 ? 16 : m < 64 ? m : 64;
}
constexpr int slab_bytes(const KernelSpec& spec) { return slab_rows(spec) * kBoxBytes; }
constexpr int slab_owners(const KernelSpec& spec) {
  return spec.tile.swap_ab == 0 ? spec.tile.num_warps : warpgroups(spec.tile);
}
// Rows of C that one bulk copy stores; and whether they can: rows begin and end at multiples of 16 bytes. (The copies
// cut a box off at the matrix's end no finer.)
inline constexpr int kBoxRowsC = 16;
constexpr bool can_store_boxes(Storage c, const KernelArgs& args) {
  return args.wide_stores != 0 && size_of(c) == 2 && args.n % 8 == 0;
}
constexpr int slabs_offset(const KernelSpec& spec) {
  return ceil_divide(exchange_offset(spec) + exchange_bytes(spec), 1024) * 1024;
}
// Slabs of each owner: one; but where no second block finds room beside this one, as many as there is room for, up to
// one for each part of a tile. (Of blocks with parts of K each writes some parts only: one, or they could not be
// counted.)
inline constexpr int kMostSharedBytes = 227 * 1024;  // of an sm_90 block
constexpr int slabs_each(const KernelSpec& spec) {
  const int one = slab_owners(spec) * slab_bytes(spec);
  const int before = slabs_offset(spec);
  if (parts_of_k(spec.tile) > 1 || 2 * (before + one) <= kMostSharedBytes) return 1;
  const int parts = blocks_x(spec.tile) * ceil_divide(tile_y(spec.tile), 64);  // of so many columns, or tokens
  const int fit = (kMostSharedBytes - before) / one;
  return fit < 1 ? 1 : fit < parts ? fit : parts;
}
constexpr int tiled_smem_bytes(const KernelSpec& spec) {
  return slabs_offset(spec) + slab_owners(spec) * slabs_each(spec) * slab_bytes(spec);
}

}  // namespace expertile
