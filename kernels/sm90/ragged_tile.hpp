#pragma once
// A tile is multiplied as far as it has tokens: a group's last tile costs what its rows cost.

#include "sm90/promotion.hpp"

namespace expertile::sm90 {

// A warpgroup whose part of the tile has no tokens lets the k-blocks pass, in its order.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void skip_k_blocks(const KernelArgs& args, Consumer& consumer) {
  const int k_blocks = k_block_count<SPEC>(args.k);
  begin_tile<SPEC>(consumer);
  for (int i = 0; i < k_blocks; ++i, next<SPEC>(consumer.cursor)) {
    // Each phase is seen, so that none is mistaken for another.
    const Stage stage = wait_for_stage<SPEC>(consumer);
    release<SPEC>(stage.empty, consumer.lane);
  }
  end_tile<SPEC>(consumer);
}

template <KernelSpec SPEC, MmaTile MMA>
EXPERTILE_DEVICE void multiply_as(const KernelArgs& args, Consumer& consumer, Totals<SPEC>& total) {
  if constexpr (MMA.blocks == 0) {
    skip_k_blocks<SPEC>(args, consumer);
  } else if constexpr (promotes(SPEC)) {
    multiply_promoting<SPEC, MMA>(args, consumer, total);
  } else {
    multiply_plain<SPEC, MMA>(args, consumer, total);
  }
}

// Multiplies what has tokens, by the narrowest of the forms from this one on: SIZE is blocks of 64 rows of a warpgroup
// where the tokens are the rows, and columns where they are those.
template <KernelSpec SPEC, int SIZE>
EXPERTILE_DEVICE void multiply_tile(const KernelArgs& args, const OutputTile& tile, Consumer& consumer,
                                    Totals<SPEC>& total) {
  using S = Shape<SPEC>;
  constexpr MmaTile kMma = S::kSwapped ? MmaTile{S::kX, SIZE} : MmaTile{SIZE, S::kColumns};
  constexpr bool kIsLast = SIZE == (S::kSwapped ? S::kColumns : S::kX);
  if constexpr (!kIsLast) {
    constexpr int kNext = S::kSwapped ? next_columns(SPEC, SIZE) : SIZE + 1;
    const bool fits = S::kSwapped ? tile.rows <= SIZE : tile.rows - consumer.warpgroup_x <= 64 * SIZE;
    if (!fits) return multiply_tile<SPEC, kNext>(args, tile, consumer, total);
  }
  multiply_as<SPEC, kMma>(args, consumer, total);
}

}  // namespace expertile::sm90
