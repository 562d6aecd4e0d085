#pragma once
// C[r] = A[r] x B[weight_indices[g]]^T for the rows r of every group g, on sm_80 and everything after it.
//
// A block takes the tile of C that has its number: find it, multiply along K, write it out. Blocks beyond the last tile
// find none: the host knows only how many there may be. Where offsets decrease, groups may have rows in common, and then
// there can be more tiles than the host has counted: the last block takes those behind its own, too.

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
  for (int wanted = ptx::block_index();; ++wanted) {
    GroupCursor groups;
    const OutputTile tile = find_tile<SPEC.tile>(args, groups, wanted);
    if (tile.rows < 0) return;
    typename S::Total total[S::kX][S::kY][4] = {};
    multiply_tile<SPEC>(args, tile, place, 0, total);
    write_tile<SPEC>(args, tile, place, 0, total);
    if (wanted < ptx::grid_size() - 1) return;
    ptx::barrier();  // the tile is written, and the ring free again
  }
}

}  // namespace expertile::sm80
