#pragma once
// float32 at float32's accuracy: large * large + large * small + small * large of the operands' tf32 parts.
//
// A warpgroup splits its weights in its own registers, rounded, as the portable family does. Tokens stay in shared
// memory, where the tensor core reads them as they lie and cuts off what tf32 has no bits for: they are their own large
// parts, and the splitting warps write beside them what is cut off. To round them too would write twice as much, to
// shared memory whose time the products need. The product of the small parts, which nobody takes, is at most 2^-21 of
// the operands' (2^-10 of a token, which is cut, times 2^-11 of a weight), and has no sign of its own, since weights
// are rounded up as often as down. An infinity beside a small part that is zero gives NaN, as in the portable family.
//
// The way of a slice: copied; `full`; split, while the multiplying warps load their weights; `split`; multiplied;
// `empty`. Small parts are overwritten when the next slice of the stage is full, so when all its products are done. No
// bulk copy ever goes where they lie, and what is copied is never stored over: only the products need the fence.

#include "sm90/ring.hpp"
#include "tf32.hpp"

namespace expertile::sm90 {

// Where a lane's row of ldmatrix's four matrices, which are the 16 rows from `row` on (a multiple of 16) and two chunks
// of 16 bytes, lies in a box of weights, for step 0.
EXPERTILE_DEVICE unsigned matrix_row(int row, int lane) {
  return static_cast<unsigned>((row + lane % 16) * kBoxBytes + ((lane / 16) ^ (lane % 8)) * 16);
}

// x: mma's a of 16 rows of a box of weights, K from 8 * step on: large parts and small ones. from: of the box, plus
// matrix_row. A matrix of 8 rows x 16 bytes is 8 rows x 4 float32, a lane's word of it is its element.
EXPERTILE_DEVICE void load_split(unsigned (&x)[2][4], unsigned from, int step) {
  unsigned words[4];  // rows 0-7 and 8-15 of the first 16 bytes, then of the second
  ptx::ldmatrix4(words, from ^ static_cast<unsigned>(32 * step));
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const Tf32Parts parts = tf32_parts(words[i]);
    x[0][i] = parts.large;
    x[1][i] = parts.small;
  }
}

// The small parts of so many chunks of 16 bytes, from the begin of a box of tokens on, each to the same place of its
// own box: it does not matter here how rows are permuted. Loads are started together, so that their latency is paid
// once.
EXPERTILE_DEVICE void split_box(unsigned box, unsigned small, int chunks, int thread) {
  constexpr int kThreads = 32 * kSplittingWarps;
  constexpr int kTogether = 4;
  for (int first = thread; first < chunks; first += kTogether * kThreads) {
    ptx::Bytes16 chunk[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int at = first + i * kThreads;
      if (at < chunks) chunk[i] = ptx::load_shared<ptx::Bytes16>(box + static_cast<unsigned>(16 * at));
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int at = first + i * kThreads;
      if (at >= chunks) continue;
#pragma unroll
      for (unsigned& word : chunk[i].word) word = tf32_rest(word);
      ptx::store_shared(small + static_cast<unsigned>(16 * at), chunk[i]);
    }
  }
}

// By the splitting warps, of which this thread is the so-manieth: all slices of all tiles, as they come. A stage is
// never two phases ahead of them, since its products wait for what they write.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void split_tiles(const KernelArgs& args, int thread) {
  using S = Shape<SPEC>;
  constexpr int kChunksAPiece = S::kPieceRows * kBoxBytes / 16;
  const int slices = slice_count<SPEC>(args.k);
  Slot slot;
  for (int turn = 0;; ++turn) {
    const OutputTile tile = hear_tile<SPEC>(turn);
    if (tile.rows < 0) return;
    const int chunks = copied_pieces<SPEC>(tile) * kChunksAPiece;
    for (int i = 0; i < slices; ++i, next<SPEC>(slot)) {
      const Place<SPEC> place = place_of<SPEC>(slot);
      ptx::mbarrier_wait(place.full, place.parity);  // the tokens are there, and all is read that was there before
#pragma unroll
      for (int box = 0; box < S::kBoxesA; ++box) {
        const auto at = static_cast<unsigned>(box * S::kBoxA);
        split_box(place.a + at, place.small + at, chunks, thread);
      }
      ptx::fence_stores();  // products read by another path
      ptx::warp_barrier();  // all lanes have come so far
      if (thread % 32 == 0) ptx::mbarrier_arrive(place.split);
    }
  }
}

}  // namespace expertile::sm90
