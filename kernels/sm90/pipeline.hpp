#pragma once
// The pipeline of stages between the producer warp, which fills them by bulk tensor copies, and the consumer
// warpgroups, which empty them by wgmma. The blocks of a cluster multiply the same tokens with neighbouring weights:
// each multicasts its boxes of the tokens to all of them. Or neighbouring tokens with the same weights (CLUSTER_M), and
// multicast those. Or (SPLIT_K) each multiplies its split of K of the same tile, with a pipeline of its own.
//
// A stage holds one k-block of both operands (sm90/shape.hpp). Each stage has two barriers: `full`, whose phase ends
// when the copies are there, and `empty`, whose phase ends when every consumer warp has read them, of the other blocks
// of the cluster too, since this block's multicasts overwrite theirs. Where tokens have residuals there is a third,
// `residuals_full`, whose phase ends when those are there (sm90/residuals.hpp). Everyone goes through the stages in the
// same order, k-block by k-block, from one tile into the next.

#include <ptx90.hpp>

#include "sm90/tile_queue.hpp"

namespace expertile::sm90 {

// The type of a warpgroup's sums as the tensor core keeps them.
template <bool INTEGER>
struct SumType {
  using Type = float;
};
template <>
struct SumType<true> {
  using Type = int;
};

// What is fixed at compile time, worked out once. X takes the tensor core's 64 rows, Y its columns.
template <KernelSpec SPEC>
struct Shape {
  static constexpr TileConfig kTile = SPEC.tile;
  static constexpr bool kSwapped = kTile.swap_ab != 0;
  static constexpr int kX = blocks_x(kTile);
  static constexpr int kColumns = tile_y(kTile);
  static constexpr int kY = kColumns / 8;
  static constexpr int kStages = kTile.num_stages;
  static constexpr int kMulticast = multicast_blocks(kTile);
  static constexpr int kSplits = k_splits(kTile);
  static constexpr int kPanelsA = stage_panels(SPEC, SPEC.a);
  static constexpr int kPanelsB = stage_panels(SPEC, SPEC.b);
  static constexpr int kPanelBytesA = kTile.block_size_m * kSwizzleBytes;
  static constexpr int kPanelBytesB = kTile.block_size_n * kSwizzleBytes;
  static constexpr int kBoxRowsA = box_rows_a(SPEC);
  static constexpr int kBoxesA = kTile.block_size_m / kBoxRowsA;  // of a panel
  static constexpr int kSpans = kTile.block_size_k / span_elements(SPEC);
  static constexpr int kSteps = kSwizzleBytes / 32;           // products per panel of the operands in shared memory
  static constexpr int kStepElements = 32 / size_of(SPEC.a);  // K of a product
  static constexpr bool kResiduals = keeps_residuals(SPEC);
  static constexpr bool kRegisterWeights = weights_in_registers(SPEC.product);
  using Accumulator = typename SumType<SPEC.product == Product::int8>::Type;
  using Total = typename SumType<SPEC.product == Product::int8 && !promotes(SPEC)>::Type;
};
// A warpgroup's totals of its part of a tile.
template <KernelSpec SPEC>
using Totals = typename Shape<SPEC>::Total[Shape<SPEC>::kX][Shape<SPEC>::kY][4];

// ---- k-blocks -----------------------------------------------------------------------------------------------------

// k-blocks before a split of K: splits are as even as whole k-blocks allow, and may have none.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int k_blocks_before(int k, int split) {
  return split * ceil_divide(k, SPEC.tile.block_size_k) / k_splits(SPEC.tile);
}
// The first of the k-blocks that this block multiplies of every tile, and how many there are.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int first_k_block(int k) {
  return Shape<SPEC>::kSplits == 1 ? 0 : k_blocks_before<SPEC>(k, ptx::cluster_rank());
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE int k_block_count(int k) {
  if constexpr (Shape<SPEC>::kSplits == 1) return ceil_divide(k, SPEC.tile.block_size_k);
  return k_blocks_before<SPEC>(k, ptx::cluster_rank() + 1) - first_k_block<SPEC>(k);
}

// Boxes of a panel of A that are copied of a tile.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int copied_boxes(const OutputTile& tile) {
  using S = Shape<SPEC>;
  return cuts_tokens(SPEC) ? ceil_divide(tile.rows, S::kBoxRowsA) : S::kBoxesA;
}

// ---- stages -------------------------------------------------------------------------------------------------------

// How far one has come in the pipeline: the stage of the next k-block, and the parity of its phases.
struct StageCursor {
  int stage = 0;
  int parity = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE void next(StageCursor& cursor) {
  const bool is_last = cursor.stage == Shape<SPEC>::kStages - 1;
  cursor.stage = is_last ? 0 : cursor.stage + 1;
  cursor.parity ^= is_last ? 1 : 0;
}
// By so many k-blocks.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void advance(StageCursor& cursor, int k_blocks) {
  const int stage = cursor.stage + k_blocks;
  cursor.stage = stage % Shape<SPEC>::kStages;
  cursor.parity ^= stage / Shape<SPEC>::kStages % 2;
}

// A stage in shared memory, and the barriers that guard it.
struct Stage {
  unsigned a = 0;
  unsigned residuals = 0;
  unsigned b = 0;
  unsigned full = 0;
  unsigned empty = 0;
  unsigned residuals_full = 0;
  unsigned scales = 0;  // of its spans
  int parity = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE Stage stage_at(const StageCursor& cursor) {
  constexpr SharedLayout kAt = kLayout<SPEC>;
  Stage stage;
  stage.a = static_cast<unsigned>(cursor.stage * kAt.stage_bytes);
  stage.residuals = stage.a + kAt.residuals;
  stage.b = stage.a + kAt.b;
  stage.full = static_cast<unsigned>(kAt.stage_barriers + kAt.stage_barrier_bytes * cursor.stage);
  stage.empty = stage.full + kBarrierBytes;
  stage.residuals_full = stage.full + 2 * kBarrierBytes;
  stage.scales = static_cast<unsigned>(kAt.scales + cursor.stage * kAt.stage_scale_bytes);
  stage.parity = cursor.parity;
  return stage;
}

// ---- ordered barrier ----------------------------------------------------------------------------------------------

// Of two warpgroups that multiply whole tiles alternately (pingpong): each waits at its own barrier for the other,
// which arrives there with its four warps when it has seen all of its tile's k-blocks. The first tile is warpgroup 0's,
// and nobody's to wait for. Only then may one begin to wait for its own k-blocks: a wait tells phases apart by their
// parity alone, so it must never be two phases ahead.
struct OrderedBarrier {
  unsigned mine = 0;
  unsigned others = 0;
  int parity = 0;  // of the next wait
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE OrderedBarrier ordered_barrier(int warpgroup) {
  constexpr auto kBarriers = static_cast<unsigned>(kLayout<SPEC>.ordered_barriers);
  const unsigned mine = kBarriers + static_cast<unsigned>(kBarrierBytes * warpgroup);
  return {mine, 2 * kBarriers + kBarrierBytes - mine, warpgroup == 0 ? 1 : 0};
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE void wait_in_order(OrderedBarrier& order) {
  if constexpr (SPEC.tile.pingpong != 0) {
    ptx::mbarrier_wait(order.mine, order.parity);
    order.parity ^= 1;
  }
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE void arrive_in_order(const OrderedBarrier& order, int lane) {
  if constexpr (SPEC.tile.pingpong != 0) {
    if (lane == 0) ptx::mbarrier_arrive(order.others);
  }
}

// ---- barriers -----------------------------------------------------------------------------------------------------

// Where the blocks that split K send each other partial sums: `full`, whose phase ends when the others' of a tile are
// here, and `empty`, whose phase ends when the others have read what this block sent them.
template <KernelSpec SPEC>
struct PartialSums {
  static constexpr auto kFull = static_cast<unsigned>(kLayout<SPEC>.partial_sums);
  static constexpr unsigned kEmpty = kFull + kBarrierBytes;
  static constexpr unsigned kSums = kEmpty + kBarrierBytes;
};

// Arrivals of a warp that has read a stage, or brought its scales: its lanes read scales alone one by one.
template <KernelSpec SPEC>
inline constexpr int kArrivals = has_scale_producers(SPEC) ? ptx::kArrivingLanes : 1;

// By one thread, before anything else.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void init_barriers() {
  using S = Shape<SPEC>;
  init_tile_queue<SPEC>();
  for (int i = 0; i < SPEC.tile.num_stages; ++i) {
    const Stage stage = stage_at<SPEC>({i, 0});
    // The copying thread, whose bytes count themselves, and the warps that bring scales; and whoever reads it.
    ptx::mbarrier_init(stage.full, 1 + scale_warps(SPEC) * kArrivals<SPEC>);
    ptx::mbarrier_init(stage.empty, consumer_warps(SPEC.tile) * (kArrivals<SPEC> + S::kMulticast - 1));
    if constexpr (S::kResiduals) ptx::mbarrier_init(stage.residuals_full, kResidualWarps);
  }
  if constexpr (SPEC.tile.pingpong != 0) {
    const OrderedBarrier order = ordered_barrier<SPEC>(0);
    ptx::mbarrier_init(order.mine, 4);
    ptx::mbarrier_init(order.others, 4);
  }
  if constexpr (S::kSplits > 1) {
    constexpr int kOthers = SPEC.tile.num_warps * (S::kSplits - 1);  // warps
    ptx::mbarrier_init(PartialSums<SPEC>::kFull, 1 + kOthers);       // and the thread that expects bytes
    ptx::mbarrier_init(PartialSums<SPEC>::kEmpty, kOthers);
  }
  ptx::mbarrier_fence_inits();
}

// Before the arrival of a warp whose lanes have each read or stored their own scales, where one arrives for all.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void gather_lanes() {
  if constexpr (kArrivals<SPEC> == 1 && has_scale_producers(SPEC)) ptx::warp_barrier();
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE void arrive_for_warp(unsigned barrier, int lane) {
  gather_lanes<SPEC>();
  if (kArrivals < SPEC >> 1 || lane == 0) ptx::mbarrier_arrive(barrier);
}

// Consumer release: this warp has read the stage, with its scales; every block that copies to it may.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void release(unsigned empty, int lane) {
  if constexpr (Shape<SPEC>::kMulticast == 1) return arrive_for_warp<SPEC>(empty, lane);
  gather_lanes<SPEC>();
  if constexpr (kArrivals<SPEC> == 1) {
    if (lane < Shape<SPEC>::kMulticast) ptx::mbarrier_arrive_at(empty, lane);
  } else {
    ptx::mbarrier_arrive(empty);
    if (lane < Shape<SPEC>::kMulticast && lane != ptx::cluster_rank()) ptx::mbarrier_arrive_at(empty, lane);
  }
}

}  // namespace expertile::sm90
