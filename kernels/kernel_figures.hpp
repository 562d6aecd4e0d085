#pragma once
// Figures of a kernel of either family that host and device must agree on, worked out from its KernelSpec: shared
// memory, registers and threads.

#include "sm90/figures.hpp"

namespace expertile {

// ---- figures of the sm80 epilogue -------------------------------------------------------------------------------

// A row of C in shared memory, in float32: padded by 16 bytes, so that rows begin at different banks.
constexpr int staged_row_bytes(const KernelSpec& spec) { return spec.tile.block_size_n * 4 + 16; }

// Rows of C that are staged at a time: 16 of every warp along X, or all where the tokens take the 8-column side.
constexpr int staged_rows(const TileConfig& tile) {
  return tile.swap_ab != 0 ? tile.block_size_m : 16 * warp_grid(tile).x;
}

// Sums of the other parts of K, [split_k - 1, BLOCK_SIZE_M * BLOCK_SIZE_N], and then the staged rows of C.
constexpr int epilogue_bytes(const KernelSpec& spec) {
  return (spec.tile.split_k - 1) * spec.tile.block_size_m * spec.tile.block_size_n * 4 +
         staged_rows(spec.tile) * staged_row_bytes(spec);
}

// Dynamic shared memory of a block.
constexpr int smem_bytes(const KernelSpec& spec) {
  if (spec.tile.kernel == KernelFamily::sm90) return tiled_smem_bytes(spec);
  const int ring = spec.tile.num_stages * (stage_bytes_a(spec) + stage_bytes_b(spec));
  const int epilogue = epilogue_bytes(spec);
  return ring > epilogue ? ring : epilogue;
}

// Registers of a thread that hold sums.
constexpr int accumulators(const KernelSpec& spec) {
  const int elements = spec.tile.block_size_m * spec.tile.block_size_n;
  if (spec.tile.kernel == KernelFamily::sm90) {
    const int totals = elements / (128 * sharers(spec.tile));
    if (!promotes(spec)) return totals;
    const Extent piece = piece_of(spec, {blocks_x(spec.tile), tile_y(spec.tile)});
    return totals + piece.blocks * piece.columns / 2;
  }
  return elements * spec.tile.split_k / (32 * spec.tile.num_warps) * (spec.scaling == Scaling::block ? 2 : 1);
}

// sm90: with those that hold scales of blocks, of a piece's tokens and weights; and weights on their way with where
// they come from.
constexpr int tiled_registers(const KernelSpec& spec) {
  const int blocks = blocks_x(spec.tile);
  const int held = holds_weights(spec.product) ? 8 * held_parts(spec.product) * held_steps(spec) * blocks + 4 : 0;
  if (spec.scaling != Scaling::block) return accumulators(spec) + held;
  const Extent piece = piece_of(spec, {blocks, tile_y(spec.tile)});
  const int scales = spec.tile.swap_ab != 0 ? piece.blocks + 8 : 2 * piece.blocks + weight_scales(spec);
  return accumulators(spec) + held + scales;
}

// ---- threads ----------------------------------------------------------------------------------------------------

// sm90: whether the copying warp's registers, and those of three idle warps with it, go to two or three warpgroups that
// multiply. 16384 registers belong to every fourth warp of a block: three of them have 168 a thread at the launch, and
// four have 128. Where weights go through registers, what is on the way to the products takes more beside.
constexpr bool moves_registers(const KernelSpec& spec) {
  const int groups = warpgroups(spec.tile);
  const int most = (groups == 2 ? 112 : 72) - (holds_weights(spec.product) ? 32 : 0);
  return spec.tile.kernel == KernelFamily::sm90 && groups > 1 && tiled_registers(spec) > most;
}
// What a thread has then: one that copies, brings scales or splits tokens, and one that multiplies. Together no more
// than the block has at its launch: else one would wait for the other's for good.
constexpr bool needs_most_registers(const KernelSpec& spec) {
  return warpgroups(spec.tile) == 2 && !splits_tokens(spec) && tiled_registers(spec) > 176;
}
constexpr int registers_to_copy(const KernelSpec& spec) { return needs_most_registers(spec) ? 40 : 56; }
constexpr int registers_to_multiply(const KernelSpec& spec) {
  return warpgroups(spec.tile) == 3 ? 152 : needs_most_registers(spec) ? 232 : 224;
}
constexpr bool registers_suffice(const KernelSpec& spec) {
  const int groups = warpgroups(spec.tile);
  const int at_launch = 65536 / (128 * (groups + 1)) / 8 * 8;
  return registers_to_copy(spec) + groups * registers_to_multiply(spec) <= (groups + 1) * at_launch;
}

// sm90: a warp more, which copies, and those that bring scales or split tokens; a whole warpgroup where registers move.
constexpr int threads_of(const KernelSpec& spec) {
  const int copying = 1 + scale_warps(spec) + (splits_tokens(spec) ? kSplittingWarps : 0);
  const int more = spec.tile.kernel != KernelFamily::sm90 ? 0 : moves_registers(spec) ? 4 : copying;
  return 32 * (spec.tile.num_warps + more);
}

}  // namespace expertile
