#pragma once
// The producer warp: finds the block's tiles, puts them into the tile queue, and copies their k-blocks into the stages.
// It runs ahead of the consumers by as many k-blocks as there are stages, into the next tile too, so that memory never
// waits for a tile's end.

#include "sm90/pipeline.hpp"

namespace expertile::sm90 {

// ---- copies -------------------------------------------------------------------------------------------------------

// To all blocks of a cluster that multicast to each other.
template <KernelSpec SPEC>
constexpr auto kToAll = static_cast<unsigned short>((1 << Shape<SPEC>::kMulticast) - 1);

// By one thread: this block's copies of a panel of A, so many boxes of it. Where tokens are multicast, the blocks share
// the boxes out, and each copies its own to all of them. The others' bytes may be counted before this block expects
// them, but never in an earlier phase, which all blocks have read before any copies again.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void copy_tokens(const TensorMap& map, const OutputTile& tile, int column, int boxes, unsigned to,
                                  unsigned full) {
  using S = Shape<SPEC>;
  constexpr int kBlocks = S::kTile.cluster_size;
  constexpr int kBoxBytes = S::kBoxRowsA * kSwizzleBytes;
  const int first = kBlocks > 1 ? ptx::cluster_rank() : 0;
  const int row = static_cast<int>(tile.row);
#pragma unroll
  for (int i = 0; i < ceil_divide(S::kBoxesA, kBlocks); ++i) {
    const int box = first + i * kBlocks;
    if (box >= boxes) return;
    const unsigned at = to + static_cast<unsigned>(box * kBoxBytes);
    if constexpr (kBlocks == 1) {
      ptx::copy_box(at, map, column, row + box * S::kBoxRowsA, full);
    } else {
      ptx::copy_box_to(at, map, column, row + box * S::kBoxRowsA, full, kToAll<SPEC>);
    }
  }
}
// Likewise of a panel of B: where the tile's weights are multicast, each block's box to all of them. row: the tile's
// first.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void copy_weights(const TensorMap& map, bool is_shared, int column, int row, unsigned to,
                                   unsigned full) {
  constexpr int kRows = box_rows_b(SPEC);
  if constexpr (SPEC.tile.cluster_m == 1) {
    ptx::copy_box(to, map, column, row, full);
  } else if (is_shared) {
    const int mine = ptx::cluster_rank() * kRows;
    ptx::copy_box_to(to + static_cast<unsigned>(mine * kSwizzleBytes), map, column, row + mine, full, kToAll<SPEC>);
  } else {
#pragma unroll
    for (int first = 0; first < SPEC.tile.block_size_n; first += kRows) {
      ptx::copy_box(to + static_cast<unsigned>(first * kSwizzleBytes), map, column, row + first, full);
    }
  }
}

// By one thread: the copies of k-blocks `from` to `until` of the wave's tile, of those that this block multiplies, the
// first of which goes to the cursor's stage. The last box's rows behind the tile's end are copied too, and those behind
// the matrix's become zero: what is made of them is never written. The tile is read from the queue, since the producer
// has no registers to keep it in while it looks for the next one.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void copy_k_blocks(const TiledArgs& in, int wave, int from, int until, StageCursor& cursor) {
  using S = Shape<SPEC>;
  const OutputTile tile = queued_tile(queue_slot<SPEC>(wave));
  const int row_b = tile.expert * in.args.n + tile.column;  // a matrix has fewer than 2^31 rows
  const int boxes = copied_boxes<SPEC>(tile);
  const int bytes = S::kPanelsB * S::kPanelBytesB + S::kPanelsA * boxes * S::kBoxRowsA * kSwizzleBytes;
  const int first = first_k_block<SPEC>(in.args.k);
#pragma unroll 1
  for (int i = from; i < until; ++i, next<SPEC>(cursor)) {
    const Stage stage = stage_at<SPEC>(cursor);
    ptx::mbarrier_wait(stage.empty, stage.parity ^ 1);  // producer acquire: what the stage held before has been read
    ptx::mbarrier_arrive_expecting(stage.full, bytes);
    const int k = (first + i) * S::kTile.block_size_k;
#pragma unroll
    for (int panel = 0; panel < S::kPanelsB; ++panel) {
      copy_weights<SPEC>(in.b, tile.is_shared != 0, k + panel * panel_elements(SPEC.b), row_b,
                         stage.b + static_cast<unsigned>(panel * S::kPanelBytesB), stage.full);
    }
#pragma unroll
    for (int panel = 0; panel < S::kPanelsA; ++panel) {
      copy_tokens<SPEC>(in.a, tile, k + panel * panel_elements(SPEC.a), boxes,
                        stage.a + static_cast<unsigned>(panel * S::kPanelBytesA), stage.full);
    }
  }
}

// ---- the warp -----------------------------------------------------------------------------------------------------

// Finds the tile of a wave and pushes it; false if there is none. Collective of the producer warp. claimed: what
// claim_tile gave for it.
template <KernelSpec SPEC>
EXPERTILE_DEVICE bool push_next_tile(const TiledArgs& in, const ptx::Elected& elected, GroupCursor& groups, int wave,
                                     int claimed) {
  ptx::warp_barrier();  // the lanes meet again, and the elected one has read the slot that is overwritten
  const int number = tile_number<SPEC>(in, elected, wave, claimed);
  const OutputTile tile = tile_of_block<SPEC>(in.args, groups, number);
  if (elected.is_this) push_tile<SPEC>(tile, wave);
  if (tile.rows >= 0) return true;
  // To the warpgroup that waits for the wave behind the last, too.
  if (SPEC.tile.pingpong != 0 && elected.is_this) push_tile<SPEC>(tile, wave + 1);
  reset_counter<SPEC>(in, elected, groups, number, wave);
  return false;
}

// k-blocks of a tile that are copied before the next tile is claimed, and before it is looked for: all but as many as
// there are stages, so that the next tile's are on their way while the last of this one are multiplied and written. The
// counter's answer takes as long as two k-blocks or less.
struct LookAhead {
  int claims_after = 0;
  int pushes_after = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE LookAhead look_ahead(int k_blocks) {
  constexpr int kAnswer = 2;
  const int most = k_blocks - SPEC.tile.num_stages;
  if (most > kAnswer) return {most - kAnswer, most};
  return {0, kAnswer < k_blocks ? kAnswer : k_blocks};
}

template <KernelSpec SPEC>
EXPERTILE_DEVICE void produce(const TiledArgs& in) {
  const ptx::Elected elected = ptx::elect();
  if (elected.is_this) {
    ptx::prefetch_map(in.a);
    ptx::prefetch_map(in.b);
  }
  const int k_blocks = k_block_count<SPEC>(in.args.k);
  const LookAhead ahead = look_ahead<SPEC>(k_blocks);
  GroupCursor groups;
  StageCursor cursor;
  bool is_there = push_next_tile<SPEC>(in, elected, groups, 0, 0);
  for (int wave = 0; is_there; ++wave) {
    int claimed = 0;
    if (elected.is_this) {
      copy_k_blocks<SPEC>(in, wave, 0, ahead.claims_after, cursor);
      claimed = claim_tile<SPEC>(in);
      copy_k_blocks<SPEC>(in, wave, ahead.claims_after, ahead.pushes_after, cursor);
    }
    is_there = push_next_tile<SPEC>(in, elected, groups, wave + 1, claimed);
    if (elected.is_this) copy_k_blocks<SPEC>(in, wave, ahead.pushes_after, k_blocks, cursor);
  }
}

}  // namespace expertile::sm90
