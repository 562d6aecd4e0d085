#pragma once
// SPLIT_K: the blocks of a cluster have each multiplied a split of K of the same tile, and reduce their partial sums.
// The tile's columns are dealt out: each block adds up and writes those that it `writes`, so that the others' sums
// cross the cluster once, and the work of the tile's end is shared too. Each sends the others theirs, by stores whose
// bytes the other block's `full` counts: nobody has to wait until its stores are there, or to fetch anything.
//
// Thread t of every block holds sums of the same elements, so thread t adds up what thread t of the others sent: 16
// bytes a lane, side by side, in the order in which they lie in registers. The stages have no part in it: the producer
// is ahead in the next tile meanwhile.

#include "scaling.hpp"
#include "sm90/consumer.hpp"

namespace expertile::sm90 {

// The block that writes the columns from n on, which the epilogue writes together; and whether it is this one.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int writer_of(int n) {
  return n / written_together(SPEC.tile) % Shape<SPEC>::kSplits;
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE bool writes(int n) {
  if constexpr (Shape<SPEC>::kSplits == 1) return true;
  return writer_of<SPEC>(n) == ptx::cluster_rank();
}

EXPERTILE_DEVICE unsigned word_of(float sum) { return ptx::bits_of(sum); }
EXPERTILE_DEVICE unsigned word_of(int sum) { return static_cast<unsigned>(sum); }
EXPERTILE_DEVICE void add_word(float& sum, unsigned word) { sum += ptx::float_from_bits(word); }
EXPERTILE_DEVICE void add_word(int& sum, unsigned word) { sum += static_cast<int>(word); }

// Where the block that writes column n has the sums of block m of 64 rows of it that its sender-th neighbour sends: the
// next block of the cluster is neighbour 0.
template <KernelSpec SPEC>
EXPERTILE_DEVICE unsigned partial_offset(int sender, int n, int m, int thread) {
  using S = Shape<SPEC>;
  constexpr int kTogether = written_together(SPEC.tile);
  const int column = n / (kTogether * S::kSplits) * kTogether + n % kTogether;  // among those that it writes
  const int block = (sender * columns_per_split(SPEC.tile) + column) * S::kX + m;
  return PartialSums<SPEC>::kSums + static_cast<unsigned>(16 * (block * 32 * SPEC.tile.num_warps + thread));
}

// Whether nothing of the columns from n on is written: they have no tokens.
template <KernelSpec SPEC>
EXPERTILE_DEVICE bool is_empty(const OutputTile& tile, int n) {
  return Shape<SPEC>::kSwapped && 8 * n >= tile.rows;
}

// Bytes that the others send this block of a tile.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int partial_bytes(const OutputTile& tile) {
  using S = Shape<SPEC>;
  int columns = 0;
#pragma unroll
  for (int n = 0; n < S::kY; ++n) columns += writes<SPEC>(n) && !is_empty<SPEC>(tile, n) ? 1 : 0;
  return columns * ((S::kSplits - 1) * S::kX * 32 * SPEC.tile.num_warps * 16);
}

// One arrival of this warp at the same barrier of every other block, of what all of its lanes have done.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void arrive_at_others(unsigned barrier, int lane) {
  ptx::warp_barrier();
  if (lane < Shape<SPEC>::kSplits && lane != ptx::cluster_rank()) ptx::mbarrier_arrive_at(barrier, lane);
}

// Until the others have read what this block sent them of the tile before.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void wait_until_read(int wave) {
  ptx::mbarrier_wait(PartialSums<SPEC>::kEmpty, (wave + 1) % 2);
}

// The sums of all columns that other blocks write.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void send_partials(const OutputTile& tile, int thread, const Totals<SPEC>& total) {
  using S = Shape<SPEC>;
#pragma unroll 1
  for (int other = 1; other < S::kSplits; ++other) {
    const int to = (ptx::cluster_rank() + other) % S::kSplits;  // not all of them send to the same block first
#pragma unroll
    for (int n = 0; n < S::kY; ++n) {
      if (is_empty<SPEC>(tile, n) || writer_of<SPEC>(n) != to) continue;
#pragma unroll
      for (int m = 0; m < S::kX; ++m) {
        const auto& sums = total[m][n];
        ptx::store_shared_to(to, partial_offset<SPEC>(S::kSplits - 1 - other, n, m, thread),
                             {{word_of(sums[0]), word_of(sums[1]), word_of(sums[2]), word_of(sums[3])}},
                             PartialSums<SPEC>::kFull);
      }
    }
  }
}

// total of the columns that this block writes becomes the sum of all blocks'; the rest is nothing any more. wave:
// counts the cluster's tiles.
//
// A wait tells phases apart by their parity alone, so no warp may be two phases behind. Bytes alone would not see to
// that: a block that gets none of a tile, since it writes nothing of it, would wait for nobody and arrive at the
// others' `empty`, before all of their warps have seen that it had read the tile before. So every warp that sends
// arrives at `full` as well. That says nothing of its bytes, which count themselves.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void reduce_splits(const OutputTile& tile, const Consumer& consumer, int wave, Totals<SPEC>& total) {
  using S = Shape<SPEC>;
  constexpr unsigned kFull = PartialSums<SPEC>::kFull;
  const int thread = 32 * consumer.warp + consumer.lane;
  // Loads under way at a time, of the other blocks' sums of a column: all where there are registers for it.
  [[maybe_unused]] constexpr int kAtOnce = S::kX * S::kY <= 8 ? S::kSplits - 1 : 3;
  if (thread == 0) ptx::mbarrier_arrive_expecting(kFull, partial_bytes<SPEC>(tile));
  wait_until_read<SPEC>(wave);
  send_partials<SPEC>(tile, thread, total);
  arrive_at_others<SPEC>(kFull, consumer.lane);
  ptx::mbarrier_wait(kFull, wave % 2);  // the others' sums are here
#pragma unroll
  for (int n = 0; n < S::kY; ++n) {
    if (is_empty<SPEC>(tile, n) || !writes<SPEC>(n)) continue;
#pragma unroll kAtOnce
    for (int sender = 0; sender < S::kSplits - 1; ++sender) {
#pragma unroll
      for (int m = 0; m < S::kX; ++m) {
        const auto sums = ptx::load_shared<ptx::Bytes16>(partial_offset<SPEC>(sender, n, m, thread));
#pragma unroll
        for (int i = 0; i < 4; ++i) add_word(total[m][n][i], sums.word[i]);
      }
    }
  }
  arrive_at_others<SPEC>(PartialSums<SPEC>::kEmpty, consumer.lane);
}

}  // namespace expertile::sm90
