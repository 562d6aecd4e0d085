#pragma once
// C[r] = A[r] x B[weight_indices[g]]^T for the rows r of every group g, on sm_80 and everything after it.
//
// A block takes the tile of C that has its number: find it, multiply along K, write it out. Blocks beyond the last tile
// find none: the host knows only how many there may be. Where offsets decrease, groups may have rows in common, and
// then there can be more tiles than the host has counted: the last block takes those behind its own, too.

#include "sm80/epilogue.hpp"

namespace expertile::sm80 {

template <KernelSpec SPEC>
EXPERTILE_DEVICE void grouped_gemm(const KernelArgs& args) {
  using S = Shape<SPEC>;
  static_assert(S::kWarps.x > 0, "no arrangement of the warps covers the tile");
  static_assert(S::kSteps > 0, "BLOCK_SIZE_K is shorter than the steps of SPLIT_K splits");
  static_assert(S::kTile.num_stages >= 2, "one is filled while another is multiplied");
  ptx::wait_for_work_ahead();
  ptx::let_next_begin();
  const WarpTile warp = warp_tile<SPEC>();
  GroupCursor groups;
  const OutputTile tile = find_tile<SPEC.tile>(args, groups, ptx::block_index());
  if (tile.rows < 0) return;
  typename S::Total total[S::kX][S::kY][4] = {};
  multiply_tile<SPEC>(args, tile, warp, 0, total);
  write_tile<SPEC>(args, tile, warp, total);
}

}  // namespace expertile::sm80
