#pragma once
// SPLIT_K: the blocks of a cluster have each multiplied a part of K of the same tile, and add up their sums over the
// cluster's shared memory. The tile is dealt out: each block adds up and writes what it `writes`, so that the others'
// sums cross the cluster once, and the work of the tile's end is shared too.
//
// Thread t of every block holds sums of the same places, so it reads what thread t of the others stored: 16 bytes a
// lane, side by side, in the order in which they lie in registers. The ring has no part in it: the copying warp is
// ahead in the next tile meanwhile.

#include "sm90/mainloop.hpp"

namespace expertile::sm90 {

// Columns of sums (8 of Y each) that the epilogue writes together, and that go to one block.
template <KernelSpec SPEC>
constexpr int written_together() {
  if (!Shape<SPEC>::kSwapped) return 4;
  return Shape<SPEC>::kY % 2 == 0 ? 2 : 1;
}
// Whether this block writes those from n on.
template <KernelSpec SPEC>
EXPERTILE_DEVICE bool writes(int n) {
  if constexpr (Shape<SPEC>::kParts == 1) return true;
  return n / written_together<SPEC>() % Shape<SPEC>::kParts == ptx::cluster_rank();
}

EXPERTILE_DEVICE unsigned word_of(float sum) { return ptx::bits_of(sum); }
EXPERTILE_DEVICE unsigned word_of(int sum) { return static_cast<unsigned>(sum); }
EXPERTILE_DEVICE void add_word(float& sum, unsigned word) { sum += ptx::float_from_bits(word); }
EXPERTILE_DEVICE void add_word(int& sum, unsigned word) { sum += static_cast<int>(word); }

// Where a thread's sums of block m of 64 rows and column n lie.
template <KernelSpec SPEC>
EXPERTILE_DEVICE unsigned place_of_sums(int thread, int m, int n) {
  return Exchange<SPEC>::kSums +
         static_cast<unsigned>(16 * ((m * Shape<SPEC>::kY + n) * 32 * SPEC.tile.num_warps + thread));
}

// Whether nothing of the columns from n on is written: they have no tokens.
template <KernelSpec SPEC>
EXPERTILE_DEVICE bool is_empty(const OutputTile& tile, int n) {
  return Shape<SPEC>::kSwapped && 8 * n >= tile.rows;
}

// One arrival of this warp at the same barrier of every other block. What all of its lanes did is handed over.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void hand_over(unsigned barrier, int lane) {
  ptx::warp_barrier();
  if (lane < Shape<SPEC>::kParts && lane != ptx::cluster_rank()) ptx::mbarrier_hand_over(barrier, lane);
}

// Until the others have read this block's sums of the tile before.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void wait_until_read(int turn) {
  ptx::mbarrier_wait_for_blocks(Exchange<SPEC>::kEmptied, (turn + 1) % 2);
}

// total of the columns that this block writes becomes the sum of all blocks'; the rest is nothing any more. turn:
// counts the cluster's tiles.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void add_parts(const OutputTile& tile, int warp, int lane, int turn,
                                typename Shape<SPEC>::Total (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
  const int thread = 32 * warp + lane;
  // Loads under way at a time, of the other blocks' sums of a column: all where there are registers for it.
  [[maybe_unused]] constexpr int kAtOnce = S::kX * S::kY <= 8 ? S::kParts - 1 : 3;
  wait_until_read<SPEC>(turn);
#pragma unroll
  for (int n = 0; n < S::kY; ++n) {
    if (is_empty<SPEC>(tile, n) || writes<SPEC>(n)) continue;
#pragma unroll
    for (int m = 0; m < S::kX; ++m) {
      const auto& sums = total[m][n];
      ptx::store_shared(place_of_sums<SPEC>(thread, m, n),
                        ptx::Bytes16{{word_of(sums[0]), word_of(sums[1]), word_of(sums[2]), word_of(sums[3])}});
    }
  }
  hand_over<SPEC>(Exchange<SPEC>::kFilled, lane);
  ptx::mbarrier_wait_for_blocks(Exchange<SPEC>::kFilled, turn % 2);  // the others' sums are there
#pragma unroll
  for (int n = 0; n < S::kY; ++n) {
    if (is_empty<SPEC>(tile, n) || !writes<SPEC>(n)) continue;
#pragma unroll kAtOnce
    for (int other = 1; other < S::kParts; ++other) {
      const int rank = (ptx::cluster_rank() + other) % S::kParts;  // not all of them read the same block first
#pragma unroll
      for (int m = 0; m < S::kX; ++m) {
        const ptx::Bytes16 sums = ptx::load_shared_of(rank, place_of_sums<SPEC>(thread, m, n));
#pragma unroll
        for (int i = 0; i < 4; ++i) add_word(total[m][n][i], sums.word[i]);
      }
    }
  }
  hand_over<SPEC>(Exchange<SPEC>::kEmptied, lane);
}

}  // namespace expertile::sm90
