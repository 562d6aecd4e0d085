#pragma once
// C[r] = A[r] x B[weight_indices[g]]^T for the rows r of every group g, on sm_80 and everything after it.
//
// A block takes the tile of C that has its number: find it, multiply along K, write it out. Blocks beyond the last tile
// find none: the host knows only how many there may be. Where rows are masked, that is many times as many as there are:
// the host launches as many blocks as it expects tiles, and each takes further ones while there are any.

#include "sm80/epilogue.hpp"

namespace expertile::sm80 {

template <KernelSpec SPEC>
EXPERTILE_DEVICE void make_tile(const KernelArgs& args, const OutputTile& tile, const WarpTile& warp) {
  using S = Shape<SPEC>;
  typename S::Total total[S::kX][S::kY][4] = {};
  multiply_tile<SPEC>(args, tile, warp, 0, total);
  write_tile<SPEC>(args, tile, warp, total);
}

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
  if constexpr (SPEC.rows == Rows::masked) {
#pragma unroll 1
    for (int wanted = ptx::block_index();; wanted += ptx::grid_size()) {
      const OutputTile tile = find_tile<SPEC.tile, SPEC.rows>(args, groups, wanted);
      if (tile.rows < 0) return;
      make_tile<SPEC>(args, tile, warp);
      ptx::barrier();  // all of its rows are read: the stages may be filled again
    }
  } else {
    const OutputTile tile = find_tile<SPEC.tile, SPEC.rows>(args, groups, ptx::block_index());
    if (tile.rows < 0) return;
    make_tile<SPEC>(args, tile, warp);
  }
}

}  // namespace expertile::sm80
