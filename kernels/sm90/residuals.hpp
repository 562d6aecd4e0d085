#pragma once
// float32 at float32's accuracy: large * large + large * small + small * large of the operands' two tf32 terms.
//
// A warpgroup makes its weights' terms in its own registers, rounded, as the portable family does. Tokens stay in
// shared memory, where the tensor core reads them as they lie and cuts off what tf32 has no bits for: they are their
// own large terms, and the residual warps write beside them what is cut off, their residuals. To round them too would
// write twice as much, to shared memory whose time the products need. The product of the small terms, which nobody
// takes, is at most 2^-21 of the operands' (2^-10 of a token, which is cut, times 2^-11 of a weight), and has no sign
// of its own, since weights are rounded up as often as down. An infinity beside a small term that is zero gives NaN, as
// in the portable family.
//
// The way of a k-block: copied; `full`; residuals written, while the consumers load their weights; `residuals_full`;
// multiplied; `empty`. Residuals are overwritten when the next k-block of the stage is full, so when all its products
// are done. No bulk copy ever goes where they lie, and what is copied is never stored over: only the products need the
// fence.

#include "sm90/pipeline.hpp"
#include "tf32.hpp"

namespace expertile::sm90 {

// Where a lane's row of ldmatrix's four matrices, which are the 16 rows from `row` on (a multiple of 16) and two chunks
// of 16 bytes, lies in a panel of weights, for step 0.
EXPERTILE_DEVICE unsigned matrix_row(int row, int lane) {
  return static_cast<unsigned>((row + lane % 16) * kSwizzleBytes + ((lane / 16) ^ (lane % 8)) * 16);
}

// x: mma's a of 16 rows of a panel of weights, K from 8 * step on: large terms and small ones. from: of the panel, plus
// matrix_row. A matrix of 8 rows x 16 bytes is 8 rows x 4 float32, a lane's word of it is its element.
EXPERTILE_DEVICE void load_weight_terms(unsigned (&x)[2][4], unsigned from, int step) {
  unsigned words[4];  // rows 0-7 and 8-15 of the first 16 bytes, then of the second
  ptx::ldmatrix4(words, from ^ static_cast<unsigned>(32 * step));
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const Tf32Terms terms = tf32_terms(words[i]);
    x[0][i] = terms.large;
    x[1][i] = terms.small;
  }
}

// The residuals of so many chunks of 16 bytes, from the begin of a panel of tokens on, each to the same place of its
// own panel: it does not matter here how rows are swizzled. Loads are started together, so that their latency is paid
// once.
EXPERTILE_DEVICE void write_residuals(unsigned panel, unsigned residuals, int chunks, int thread) {
  constexpr int kThreads = 32 * kResidualWarps;
  constexpr int kTogether = 4;
  for (int first = thread; first < chunks; first += kTogether * kThreads) {
    ptx::Bytes16 chunk[kTogether];
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int at = first + i * kThreads;
      if (at < chunks) chunk[i] = ptx::load_shared<ptx::Bytes16>(panel + static_cast<unsigned>(16 * at));
    }
#pragma unroll
    for (int i = 0; i < kTogether; ++i) {
      const int at = first + i * kThreads;
      if (at >= chunks) continue;
#pragma unroll
      for (unsigned& word : chunk[i].word) word = tf32_residual(word);
      ptx::store_shared(residuals + static_cast<unsigned>(16 * at), chunk[i]);
    }
  }
}

// By the residual warps, of which this thread is the so-manieth: all k-blocks of all tiles, as they come. A stage is
// never two phases ahead of them, since its products wait for what they write.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void produce_residuals(const KernelArgs& args, int thread) {
  using S = Shape<SPEC>;
  constexpr int kChunksPerBox = S::kBoxRowsA * kSwizzleBytes / 16;
  const int k_blocks = k_block_count<SPEC>(args.k);
  StageCursor cursor;
  for (int wave = 0;; ++wave) {
    const OutputTile tile = pop_tile<SPEC>(wave);
    if (tile.rows < 0) return;
    const int chunks = copied_boxes<SPEC>(tile) * kChunksPerBox;
    for (int i = 0; i < k_blocks; ++i, next<SPEC>(cursor)) {
      const Stage stage = stage_at<SPEC>(cursor);
      ptx::mbarrier_wait(stage.full, stage.parity);  // the tokens are there, and all is read that was there before
#pragma unroll
      for (int panel = 0; panel < S::kPanelsA; ++panel) {
        const auto at = static_cast<unsigned>(panel * S::kPanelBytesA);
        write_residuals(stage.a + at, stage.residuals + at, chunks, thread);
      }
      ptx::fence_stores();  // products read by another path
      ptx::warp_barrier();  // all lanes have come so far
      if (thread % 32 == 0) ptx::mbarrier_arrive(stage.residuals_full);
    }
  }
}

}  // namespace expertile::sm90
