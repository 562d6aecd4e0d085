#pragma once
// A tile is multiplied as far as it has tokens: a group's last tile costs what its rows cost.

#include "sm90/promotion.hpp"

namespace expertile::sm90 {

// A warpgroup whose part of the tile has no tokens lets the slices pass.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void pass_slices(const KernelArgs& args, const WarpPlace& warp, int index) {
  const int slices = slice_count<SPEC>(args.k);
  for (int i = 0; i < slices; ++i) {
    const Place<SPEC> place = place_of<SPEC>(index + i);
    ptx::mbarrier_wait(place.full, place.parity);  // each phase is seen, so that none is taken for another
    release<SPEC>(place.empty, warp.lane);
  }
}

template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void multiply_extent(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                      const Turns& turns, int index,
                                      typename Shape<SPEC>::Total (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  if constexpr (EXTENT.blocks == 0) {
    pass_slices<SPEC>(args, warp, index);
  } else if constexpr (promotes(SPEC)) {
    multiply_promoting<SPEC, EXTENT>(args, tile, warp, turns, index, total);
  } else {
    multiply_plain<SPEC, EXTENT>(args, warp, turns, index, total);
  }
}

// Multiplies what has tokens, by the narrowest of the forms from this one on: PARTS is blocks of 64 rows of a warpgroup
// where the tokens are the rows, and quarters of the columns where they are those.
template <KernelSpec SPEC, int PARTS>
EXPERTILE_DEVICE void multiply_tile(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                    const Turns& turns, int index,
                                    typename Shape<SPEC>::Total (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
  constexpr Extent kExtent = S::kSwapped ? Extent{S::kX, columns_of(SPEC, PARTS)} : Extent{PARTS, S::kColumns};
  constexpr bool kIsLast = S::kSwapped ? PARTS == 4 : PARTS == S::kX;
  if constexpr (!kIsLast) {
    const bool fits = S::kSwapped ? tile.rows <= kExtent.columns : tile.rows - warp.group <= 64 * PARTS;
    const bool is_narrower = !S::kSwapped || kExtent.columns < columns_of(SPEC, PARTS + 1);
    if (!is_narrower || !fits) return multiply_tile<SPEC, PARTS + 1>(args, tile, warp, turns, index, total);
  }
  multiply_extent<SPEC, kExtent>(args, tile, warp, turns, index, total);
}

}  // namespace expertile::sm90
