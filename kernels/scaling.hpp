#pragma once
// What turns sums into C's numbers, for both families: the scales of rows, columns and blocks, and rounding.

#include <ptx.hpp>

#include "kernel_shape.hpp"
#include "scheduler.hpp"

namespace expertile {

// ---- scales of blocks: inside the sum over K. row, column: within the tile; block: along K, one of scales_k --------

template <KernelSpec SPEC>
EXPERTILE_DEVICE float token_scale(const KernelArgs& args, const OutputTile& tile, int row, int block, int scales_k) {
  if (!SPEC.scales_a) return 1.0F;
  return row < tile.rows ? ptx::load_global(args.scale_a + (tile.row + row) * scales_k + block) : 0.0F;
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE float weight_scale(const KernelArgs& args, const OutputTile& tile, int column, int block,
                                    int scales_k) {
  const int n = tile.column + column;
  const long long n_blocks = ceil_divide(args.n, SPEC.block_n);
  if (n >= args.n) return 0.0F;
  return ptx::load_global(args.scale_b + (tile.expert * n_blocks + n / SPEC.block_n) * scales_k + block);
}

// ---- scales that are constant along K -----------------------------------------------------------------------------

template <Scaling SCALING>
EXPERTILE_DEVICE float row_scale(const KernelArgs& args, const OutputTile& tile, int row) {
  if constexpr (SCALING == Scaling::per_tensor) {
    return ptx::load_global(args.scale_a + tile.expert);
  } else if constexpr (SCALING == Scaling::per_token_channel) {
    return row < tile.rows ? ptx::load_global(args.scale_a + tile.row + row) : 0.0F;
  } else {
    return 1.0F;
  }
}
template <Scaling SCALING>
EXPERTILE_DEVICE float column_scale(const KernelArgs& args, const OutputTile& tile, int column) {
  if constexpr (SCALING == Scaling::per_tensor) {
    return ptx::load_global(args.scale_b + tile.expert);
  } else if constexpr (SCALING == Scaling::per_token_channel || SCALING == Scaling::per_channel) {
    const int n = tile.column + column;
    return n < args.n ? ptx::load_global(args.scale_b + static_cast<long long>(tile.expert) * args.n + n) : 0.0F;
  } else {
    return 1.0F;
  }
}

// ---- rounding -----------------------------------------------------------------------------------------------------

// Two 16-bit elements of C in the order of memory.
template <Storage C>
EXPERTILE_DEVICE unsigned rounded_pair(float first, float second) {
  return C == Storage::float16 ? ptx::float16x2_bits(first, second) : ptx::bfloat16x2_bits(first, second);
}

}  // namespace expertile
