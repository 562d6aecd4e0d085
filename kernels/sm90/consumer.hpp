#pragma once
// One warp of a consumer warpgroup: where it stands in the tile, and how far it has come.

#include "sm90/pipeline.hpp"

namespace expertile::sm90 {

struct Consumer {
  int lane = 0;
  int warp = 0;         // of the block
  int warpgroup_x = 0;  // first row of X of its warpgroup
  int x = 0;            // first row of X of its own in every block of 64
  int owner = 0;        // of store tiles: its warp, or its warpgroup
  StageCursor cursor;   // of its next k-block
  OrderedBarrier order;
};

template <KernelSpec SPEC>
EXPERTILE_DEVICE Consumer make_consumer(int warp) {
  using S = Shape<SPEC>;
  const int warpgroup = warp / 4;
  Consumer consumer;
  consumer.lane = ptx::thread_index() % 32;
  consumer.warp = warp;
  consumer.warpgroup_x = S::kTile.pingpong != 0 ? 0 : warpgroup * S::kX * 64;
  consumer.x = consumer.warpgroup_x + warp % 4 * 16;
  consumer.owner = S::kSwapped ? warpgroup : warp;
  consumer.order = ordered_barrier<SPEC>(warpgroup);
  return consumer;
}

// Until it is this warpgroup's turn to wait for k-blocks, and when it has waited for all of a tile (pingpong).
template <KernelSpec SPEC>
EXPERTILE_DEVICE void begin_tile(Consumer& consumer) {
  wait_in_order<SPEC>(consumer.order);
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE void end_tile(const Consumer& consumer) {
  arrive_in_order<SPEC>(consumer.order, consumer.lane);
}

// Consumer wait: the k-block of the cursor's stage is there.
template <KernelSpec SPEC>
EXPERTILE_DEVICE Stage wait_for_stage(const Consumer& consumer) {
  const Stage stage = stage_at<SPEC>(consumer.cursor);
  ptx::mbarrier_wait(stage.full, stage.parity);
  return stage;
}
}  // namespace expertile::sm90
