#pragma once
// SPLIT_K: the blocks of a cluster have each multiplied a part of K of the same tile, and add up their sums. The tile
// is dealt out: each block adds up and writes what it `writes`, so that the others' sums cross the cluster once, and
// the work of the tile's end is shared too. Each sends the others theirs, by stores whose bytes the other block's
// `filled` counts: nobody has to wait until its stores are there, or to fetch anything.
//
// Thread t of every block holds sums of the same places, so thread t adds up what thread t of the others sent: 16 bytes
// a lane, side by side, in the order in which they lie in registers. The ring has no part in it: the copying warp is
// ahead in the next tile meanwhile.

#include "sm90/mainloop.hpp"

namespace expertile::sm90 {

// The block that writes the columns from n on, which the epilogue writes together; and whether it is this one.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int writer_of(int n) {
  return n / written_together(SPEC.tile) % Shape<SPEC>::kParts;
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE bool writes(int n) {
  if constexpr (Shape<SPEC>::kParts == 1) return true;
  return writer_of<SPEC>(n) == ptx::cluster_rank();
}

EXPERTILE_DEVICE unsigned word_of(float sum) { return ptx::bits_of(sum); }
EXPERTILE_DEVICE unsigned word_of(int sum) { return static_cast<unsigned>(sum); }
EXPERTILE_DEVICE void add_word(float& sum, unsigned word) { sum += ptx::float_from_bits(word); }
EXPERTILE_DEVICE void add_word(int& sum, unsigned word) { sum += static_cast<int>(word); }

// Where the block that writes column n has the sums of block m of 64 rows of it that its sender-th neighbour sends: the
// next block of the cluster is neighbour 0.
template <KernelSpec SPEC>
EXPERTILE_DEVICE unsigned place_of_sums(int sender, int n, int m, int thread) {
  using S = Shape<SPEC>;
  constexpr int kTogether = written_together(SPEC.tile);
  const int column = n / (kTogether * S::kParts) * kTogether + n % kTogether;  // among those that it writes
  const int place = (sender * columns_a_part(SPEC.tile) + column) * S::kX + m;
  return Exchange<SPEC>::kSums + static_cast<unsigned>(16 * (place * 32 * SPEC.tile.num_warps + thread));
}

// Whether nothing of the columns from n on is written: they have no tokens.
template <KernelSpec SPEC>
EXPERTILE_DEVICE bool is_empty(const OutputTile& tile, int n) {
  return Shape<SPEC>::kSwapped && 8 * n >= tile.rows;
}

// Bytes that the others send this block of a tile.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int bytes_from_others(const OutputTile& tile) {
  using S = Shape<SPEC>;
  int columns = 0;
#pragma unroll
  for (int n = 0; n < S::kY; ++n) columns += writes<SPEC>(n) && !is_empty<SPEC>(tile, n) ? 1 : 0;
  return columns * ((S::kParts - 1) * S::kX * 32 * SPEC.tile.num_warps * 16);
}

// One arrival of this warp at the same barrier of every other block, of what all of its lanes have done.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void tell_others(unsigned barrier, int lane) {
  ptx::warp_barrier();
  if (lane < Shape<SPEC>::kParts && lane != ptx::cluster_rank()) ptx::mbarrier_arrive_at(barrier, lane);
}

// Until the others have read what this block sent them of the tile before.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void wait_until_read(int turn) {
  ptx::mbarrier_wait(Exchange<SPEC>::kEmptied, (turn + 1) % 2);
}

// The sums of all columns that other blocks write.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void send_sums(const OutputTile& tile, int thread,
                                const typename Shape<SPEC>::Total (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
#pragma unroll 1
  for (int other = 1; other < S::kParts; ++other) {
    const int to = (ptx::cluster_rank() + other) % S::kParts;  // not all of them send to the same block first
#pragma unroll
    for (int n = 0; n < S::kY; ++n) {
      if (is_empty<SPEC>(tile, n) || writer_of<SPEC>(n) != to) continue;
#pragma unroll
      for (int m = 0; m < S::kX; ++m) {
        const auto& sums = total[m][n];
        ptx::store_shared_to(to, place_of_sums<SPEC>(S::kParts - 1 - other, n, m, thread),
                             {{word_of(sums[0]), word_of(sums[1]), word_of(sums[2]), word_of(sums[3])}},
                             Exchange<SPEC>::kFilled);
      }
    }
  }
}

// total of the columns that this block writes becomes the sum of all blocks'; the rest is nothing any more. turn:
// counts the cluster's tiles.
//
// A wait tells phases apart by their parity alone, so no warp may be two phases behind. Bytes alone would not see to
// that: a block that gets none of a tile, since it writes nothing of it, would wait for nobody and tell the others that
// it has read, before all of their warps have seen that it had read the tile before. So every warp that sends arrives
// at `filled` as well. That says nothing of its bytes, which count themselves.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void add_parts(const OutputTile& tile, int warp, int lane, int turn,
                                typename Shape<SPEC>::Total (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
  constexpr unsigned kFilled = Exchange<SPEC>::kFilled;
  const int thread = 32 * warp + lane;
  // Loads under way at a time, of the other blocks' sums of a column: all where there are registers for it.
  [[maybe_unused]] constexpr int kAtOnce = S::kX * S::kY <= 8 ? S::kParts - 1 : 3;
  if (thread == 0) ptx::mbarrier_arrive_expecting(kFilled, bytes_from_others<SPEC>(tile));
  wait_until_read<SPEC>(turn);
  send_sums<SPEC>(tile, thread, total);
  tell_others<SPEC>(kFilled, lane);
  ptx::mbarrier_wait(kFilled, turn % 2);  // the others' sums are here
#pragma unroll
  for (int n = 0; n < S::kY; ++n) {
    if (is_empty<SPEC>(tile, n) || !writes<SPEC>(n)) continue;
#pragma unroll kAtOnce
    for (int sender = 0; sender < S::kParts - 1; ++sender) {
#pragma unroll
      for (int m = 0; m < S::kX; ++m) {
        const auto sums = ptx::load_shared<ptx::Bytes16>(place_of_sums<SPEC>(sender, n, m, thread));
#pragma unroll
        for (int i = 0; i < 4; ++i) add_word(total[m][n][i], sums.word[i]);
      }
    }
  }
  tell_others<SPEC>(Exchange<SPEC>::kEmptied, lane);
}

}  // namespace expertile::sm90
