#pragma once
// A tile is multiplied as far as it has tokens: a group's last tile costs what its rows cost.

#include "sm90/promotion.hpp"

namespace expertile::sm90 {

// A warpgroup whose part of the tile has no tokens lets the slices pass, in its turn.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void pass_slices(const KernelArgs& args, const WarpPlace& warp, Turns& turns, Slot& slot) {
  const int slices = slice_count<SPEC>(args.k);
  begin_tile<SPEC>(turns);
  for (int i = 0; i < slices; ++i, next<SPEC>(slot)) {
    const Place<SPEC> place = place_of<SPEC>(slot);
    ptx::mbarrier_wait(place.full, place.parity);  // each phase is seen, so that none is taken for another
    release<SPEC>(place.empty, warp.lane);
  }
  end_tile<SPEC>(turns, warp.lane);
}

template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void multiply_extent(const KernelArgs& args, const WarpPlace& warp, Turns& turns, Slot& slot,
                                      typename Shape<SPEC>::Total (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  if constexpr (EXTENT.blocks == 0) {
    pass_slices<SPEC>(args, warp, turns, slot);
  } else if constexpr (promotes(SPEC)) {
    multiply_promoting<SPEC, EXTENT>(args, warp, turns, slot, total);
  } else {
    multiply_plain<SPEC, EXTENT>(args, warp, turns, slot, total);
  }
}

// Multiplies what has tokens, by the narrowest of the forms from this one on: SIZE is blocks of 64 rows of a warpgroup
// where the tokens are the rows, and columns where they are those.
template <KernelSpec SPEC, int SIZE>
EXPERTILE_DEVICE void multiply_tile(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp, Turns& turns,
                                    Slot& slot,
                                    typename Shape<SPEC>::Total (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
  constexpr Extent kExtent = S::kSwapped ? Extent{S::kX, SIZE} : Extent{SIZE, S::kColumns};
  constexpr bool kIsLast = SIZE == (S::kSwapped ? S::kColumns : S::kX);
  if constexpr (!kIsLast) {
    constexpr int kNext = S::kSwapped ? next_columns(SPEC, SIZE) : SIZE + 1;
    const bool fits = S::kSwapped ? tile.rows <= SIZE : tile.rows - warp.group <= 64 * SIZE;
    if (!fits) return multiply_tile<SPEC, kNext>(args, tile, warp, turns, slot, total);
  }
  multiply_extent<SPEC, kExtent>(args, warp, turns, slot, total);
}

}  // namespace expertile::sm90
