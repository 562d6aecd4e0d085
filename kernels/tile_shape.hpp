#pragma once
// The shape of a tile, for host and device and both families: how warps, blocks and clusters share it, and how its
// operands are read.

#include "kernel_spec.hpp"

namespace expertile {

constexpr int ceil_divide(int a, int b) { return (a + b - 1) / b; }
constexpr int greatest_common_divisor(int a, int b) { return b == 0 ? a : greatest_common_divisor(b, a % b); }

// The 16-row side of the tensor core holds X, the 8-column side Y: tokens and weights, or swapped.
constexpr int tile_x(const TileConfig& tile) { return tile.swap_ab ? tile.block_size_n : tile.block_size_m; }
constexpr int tile_y(const TileConfig& tile) { return tile.swap_ab ? tile.block_size_m : tile.block_size_n; }

// Columns of the tiles, side by side, that a cluster works on at a time.
constexpr int cluster_tile_n(const TileConfig& tile) { return tile.block_size_n * tile.cluster_size; }
// Likewise rows, of tiles one below the other.
constexpr int cluster_tile_m(const TileConfig& tile) { return tile.block_size_m * tile.cluster_m; }
// Row tiles, of those of clusters, of the bands of a group that has so many: a band passes over one column tile, and so
// its weights, before the next. GROUP_SIZE_M; but the few that a group has beyond one band would read all of its
// weights again for themselves, so they belong to it.
constexpr int rows_of_bands(const TileConfig& tile, int row_tiles) {
  return 2 * row_tiles < 3 * tile.group_size_m ? row_tiles : tile.group_size_m;
}
// Blocks that multicast to each other: either tokens or weights.
constexpr int multicast_blocks(const TileConfig& tile) { return tile.cluster_size * tile.cluster_m; }

// sm90: blocks that each multiply one of so many splits of K of the same tile.
constexpr int k_splits(const TileConfig& tile) { return tile.kernel == KernelFamily::sm90 ? tile.split_k : 1; }
// Blocks of a cluster: those that multicast to each other, or those that split a tile's K.
constexpr int cluster_blocks(const TileConfig& tile) { return multicast_blocks(tile) * k_splits(tile); }
// Columns of sums (8 of Y each) that the epilogue writes together, and that go to one of the blocks that split K.
constexpr int written_together(const TileConfig& tile) {
  if (tile.swap_ab == 0) return 4;
  return tile_y(tile) % 16 == 0 ? 2 : 1;
}
// The most columns that one of them writes: some may write fewer, or none.
constexpr int columns_per_split(const TileConfig& tile) {
  const int together = written_together(tile);
  return together * ceil_divide(ceil_divide(tile_y(tile), 8 * together), k_splits(tile));
}

// sm90: warpgroups that multiply, and how many of them share a tile.
constexpr int warpgroups(const TileConfig& tile) { return tile.num_warps / 4; }
constexpr int warpgroups_per_tile(const TileConfig& tile) { return tile.pingpong ? 1 : warpgroups(tile); }

struct WarpGrid {
  int x = 0;  // warps along X; 0 where no arrangement fits
  int y = 0;
};

// The arrangement with the smallest warp tile border, so that the fewest fragments are loaded for the most products.
constexpr WarpGrid warp_grid(const TileConfig& tile) {
  const int warps = tile.split_k > 0 ? tile.num_warps / tile.split_k : 0;
  WarpGrid best{};
  int best_border = 1 << 30;
  for (int x = 1; x <= warps; x *= 2) {
    const int y = warps / x;
    if (x * y != warps || tile_x(tile) % (16 * x) != 0 || tile_y(tile) % (8 * y) != 0) continue;
    const int border = tile_x(tile) / x + tile_y(tile) / y;
    if (border < best_border) {
      best = {x, y};
      best_border = border;
    }
  }
  return best;
}

// Elements of K that one step of the main loop takes: 32 bytes of the narrower operand.
constexpr int step_elements(Product product) {
  switch (product) {
    case Product::float16:
    case Product::bfloat16:
      return 16;
    case Product::tf32:
    case Product::tf32x3:
      return 8;
    case Product::int8:
    case Product::e4m3:
    case Product::int8_float16:
    case Product::int8_bfloat16:
      return 32;
  }
  return 0;
}

// Whether 8-bit weights stand beside 16-bit tokens, and become 16 bits on the way to the tensor core.
constexpr bool widens_weights(Product product) {
  return product == Product::int8_float16 || product == Product::int8_bfloat16;
}

// sm90: whether weights go through registers, which the tensor core takes its 64-row side from: to be widened, or to
// become two tf32 terms.
constexpr bool weights_in_registers(Product product) { return widens_weights(product) || product == Product::tf32x3; }

// How an operand comes out of shared memory.
enum class Reading : int {
  plain,     // as it lies
  widened,   // 8 bits to 16
  permuted,  // 16 bits, in the order of a widened operand beside it
};
constexpr Reading reading(Product product, Storage storage) {
  switch (product) {
    case Product::float16:
    case Product::bfloat16:
    case Product::tf32:
    case Product::tf32x3:
    case Product::int8:
      return Reading::plain;
    case Product::e4m3:
      return Reading::widened;
    case Product::int8_float16:
    case Product::int8_bfloat16:
      return storage == Storage::int8 ? Reading::widened : Reading::permuted;
  }
  return Reading::plain;
}

// Fragments that one step's fragment of an operand becomes: 1 as it lies; 2, the halves of K, where 8 bits are widened;
// 2, the large and the small term of each value, for tf32x3.
constexpr int operand_fragments(Product product) {
  switch (product) {
    case Product::e4m3:
    case Product::int8_float16:
    case Product::int8_bfloat16:
    case Product::tf32x3:
      return 2;
    case Product::float16:
    case Product::bfloat16:
    case Product::tf32:
    case Product::int8:
      return 1;
  }
  return 0;
}

// Registers that 16 rows (two times 8 rows) and one step of K take as they come out of shared memory.
constexpr int fragment_words(Product product, Storage storage) {
  return reading(product, storage) == Reading::permuted ? 8 : 4;
}

constexpr int stage_bytes_a(const KernelSpec& spec) {
  return spec.tile.block_size_m * spec.tile.block_size_k * size_of(spec.a);
}
constexpr int stage_bytes_b(const KernelSpec& spec) {
  return spec.tile.block_size_n * spec.tile.block_size_k * size_of(spec.b);
}

}  // namespace expertile
