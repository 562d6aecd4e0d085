#pragma once
// C[r] = A[r] x B[weight_indices[g]]^T for the rows r of every group g, on Hopper: a persistent, warp-specialised
// kernel. docs/kernel-tour.md tells it as one story.
//
// A block stays and takes a tile of C in each wave. The producer warp finds the tiles and copies their k-blocks into a
// pipeline of stages; others bring the scales of blocks likewise, or write the residuals of the tokens that are there.
// The consumer warpgroups multiply, and write. Either all of them share a tile, each with its part of X, or (pingpong)
// two take whole tiles alternately: one writes its tile while the other multiplies the next. Where there are fewer
// tiles than multiprocessors, the blocks of a cluster each multiply a split of K of one tile (SPLIT_K), and add up
// their partial sums at its end.

#include "sm90/epilogue.hpp"
#include "sm90/producer.hpp"
#include "sm90/ragged_tile.hpp"

namespace expertile::sm90 {

// A consumer warp, until there are no more tiles.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void consume(const TiledArgs& in, int warp) {
  using S = Shape<SPEC>;
  const KernelArgs& args = in.args;
  constexpr bool kPingpong = S::kTile.pingpong != 0;
  const int warpgroup = warp / 4;
  const int k_blocks = k_block_count<SPEC>(args.k);
  Consumer consumer = make_consumer<SPEC>(warp);
  if (kPingpong) advance<SPEC>(consumer.cursor, warpgroup * k_blocks);
  for (int wave = kPingpong ? warpgroup : 0;; wave += kPingpong ? warpgroups(S::kTile) : 1) {
    const OutputTile tile = pop_tile<SPEC>(wave);
    if (tile.rows < 0) {
      // The last that other blocks do to this one: then it may end.
      if constexpr (S::kSplits > 1) wait_until_read<SPEC>(wave);
      return drain_stores<SPEC>(consumer);
    }
    Totals<SPEC> total = {};
    constexpr int kNarrowest = S::kSwapped ? next_columns(SPEC, 0) : 0;
    if (S::kSplits == 1 || k_blocks > 0) multiply_tile<SPEC, kNarrowest>(args, tile, consumer, total);
    if constexpr (S::kSplits > 1) reduce_splits<SPEC>(tile, consumer, wave, total);
    if (kPingpong) advance<SPEC>(consumer.cursor, k_blocks);  // the other's
    write_tile<SPEC>(in, tile, consumer, total);
  }
}

template <KernelSpec SPEC>
EXPERTILE_DEVICE void grouped_gemm(const TiledArgs& in) {
  using S = Shape<SPEC>;
  static_assert(S::kX > 0 && tile_x(S::kTile) == 64 * S::kX * warpgroups_per_tile(S::kTile),
                "64 rows of X a warpgroup");
  static_assert(S::kSpans > 0, "BLOCK_SIZE_K has at least the 128 bytes of a panel of each operand");
  static_assert(!moves_registers(SPEC) || registers_suffice(SPEC), "none is waited for that nobody gives");
  static_assert(S::kSwapped || !S::kRegisterWeights, "weights that go through registers take the 64-row side");
  static_assert(S::kSplits == 1 || (S::kMulticast == 1 && S::kTile.pingpong == 0), "a cluster has one tile, in order");
  constexpr int kProducer = S::kTile.num_warps;                // the consumers' warps come first
  const int warp = ptx::shuffle(ptx::thread_index() / 32, 0);  // the same for all lanes, as the compiler can see
  if (ptx::thread_index() == 0) init_barriers<SPEC>();
  if constexpr (cluster_blocks(S::kTile) == 1) {
    ptx::barrier();  // the barriers can be used
  } else {
    ptx::cluster_barrier();  // the other blocks' too
  }
  ptx::wait_for_work_ahead();
  ptx::let_next_begin();
  if (warp >= kProducer) {
    if constexpr (moves_registers(SPEC)) ptx::give_registers<producer_registers(SPEC)>();
    if (warp == kProducer) produce<SPEC>(in);
    if constexpr (has_scale_producers(SPEC)) {
      const int index = warp - kProducer - 1;
      if (index >= 0 && index < scale_warps(SPEC)) produce_scales<SPEC>(in.args, index);
    }
    if constexpr (S::kResiduals) {
      const int thread = ptx::thread_index() - 32 * (kProducer + 1);
      if (thread >= 0) produce_residuals<SPEC>(in.args, thread);
    }
  } else {
    if constexpr (moves_registers(SPEC)) ptx::take_registers<consumer_registers(SPEC)>();
    consume<SPEC>(in, warp);
  }
  // No block is gone while another one arrives at its barriers. Where K is split, each block has waited for the last
  // arrivals, but compute-sanitizer takes no other sign for that.
  if constexpr (cluster_blocks(S::kTile) > 1) ptx::cluster_barrier();
}

}  // namespace expertile::sm90
