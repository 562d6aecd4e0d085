#pragma once
// C[r] = A[r] x B[weight_indices[g]]^T for the rows r of every group g, on sm_80 and everything after it.
//
// A block takes the tile of C that has its number: find it, multiply along K, write it out. Blocks beyond the last tile
// find none: the host knows only how many there may be.

#include "sm80/epilogue.hpp"

namespace expertile::sm80 {

template <KernelSpec SPEC>
EXPERTILE_DEVICE void grouped_gemm(const KernelArgs& args) {
  using S = Shape<SPEC>;
  static_assert(S::kWarps.x > 0, "no arrangement of the warps covers the tile");
  static_assert(S::kSteps > 0, "BLOCK_SIZE_K is shorter than the steps of SPLIT_K parts");
  static_assert(S::kTile.num_stages >= 2, "a ring has at least two stages");
  ptx::wait_for_work_ahead();
  ptx::let_next_begin();
  const WarpPlace place = warp_place<SPEC>();
  GroupCursor groups;
  const OutputTile tile = find_tile<SPEC.tile>(args, groups, ptx::block_index());
  if (tile.rows < 0) return;
  typename S::Total total[S::kX][S::kY][4] = {};
  multiply_tile<SPEC>(args, tile, place, 0, total);
  write_tile<SPEC>(args, tile, place, 0, total);
}

}  // namespace expertile::sm80
