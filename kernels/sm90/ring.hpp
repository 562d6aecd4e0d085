#pragma once
// A ring of stages in shared memory that one warp keeps full by bulk tensor copies, and that the others empty by wgmma.
// The blocks of a cluster multiply the same tokens with neighbouring weights: each copies its share of the tokens to
// all of them. Or neighbouring tokens with the same weights (CLUSTER_M), and share those. Or (SPLIT_K) they multiply
// parts of K of the same tile, each with a ring of its own.
//
// A stage holds, for each operand, boxes of [rows, 128 bytes of K]. Each stage has two barriers: `full`, whose phase
// ends when the copies are there, and `empty`, whose phase ends when every warp that multiplies has read them, of the
// other blocks of the cluster too, since this block's copies overwrite theirs. Where tokens are split there is a third,
// `split`, whose phase ends when their small parts are there (split.hpp). Everyone goes through the stages in the same
// order, slice by slice of K, from one tile into the next.

#include <ptx90.hpp>

#include "sm90/tiles.hpp"

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
  static constexpr int kCluster = copying_blocks(kTile);
  static constexpr int kParts = parts_of_k(kTile);
  static constexpr int kBoxesA = stage_boxes(SPEC, SPEC.a);
  static constexpr int kBoxesB = stage_boxes(SPEC, SPEC.b);
  static constexpr int kBoxA = kTile.block_size_m * kBoxBytes;  // bytes
  static constexpr int kBoxB = kTile.block_size_n * kBoxBytes;
  static constexpr int kPieceRows = box_rows_a(SPEC);  // tokens that one copy takes
  static constexpr int kPieces = kTile.block_size_m / kPieceRows;
  static constexpr int kStageBytes = tiled_stage_bytes(SPEC);
  static constexpr int kSpans = kTile.block_size_k / span_elements(SPEC);
  static constexpr int kSteps = kBoxBytes / 32;               // products a box of the operands in shared memory
  static constexpr int kStepElements = 32 / size_of(SPEC.a);  // K of a product
  static constexpr bool kSplits = splits_tokens(SPEC);
  static constexpr bool kHolds = holds_weights(SPEC.product);
  using Accumulator = typename SumType<SPEC.product == Product::int8>::Type;
  using Total = typename SumType<SPEC.product == Product::int8 && !promotes(SPEC)>::Type;
};

// Slices of K before part `part`: parts are as even as whole slices allow, and may have none.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int slices_before(int k, int part) {
  return part * ceil_divide(k, SPEC.tile.block_size_k) / parts_of_k(SPEC.tile);
}
// The first of the slices that this block multiplies of every tile, and how many there are.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int first_slice(int k) {
  return Shape<SPEC>::kParts == 1 ? 0 : slices_before<SPEC>(k, ptx::cluster_rank());
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE int slice_count(int k) {
  if constexpr (Shape<SPEC>::kParts == 1) return ceil_divide(k, SPEC.tile.block_size_k);
  return slices_before<SPEC>(k, ptx::cluster_rank() + 1) - first_slice<SPEC>(k);
}

// How far one has come in the ring: the stage of the next slice, and the parity of its phases.
struct Slot {
  int stage = 0;
  int parity = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE void next(Slot& slot) {
  const bool is_last = slot.stage == Shape<SPEC>::kStages - 1;
  slot.stage = is_last ? 0 : slot.stage + 1;
  slot.parity ^= is_last ? 1 : 0;
}
// By so many slices.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void advance(Slot& slot, int slices) {
  const int stage = slot.stage + slices;
  slot.stage = stage % Shape<SPEC>::kStages;
  slot.parity ^= stage / Shape<SPEC>::kStages % 2;
}

// Where the slice of a slot lies, and the barriers that guard it. A stage: the boxes of A, their small parts where
// tokens are split, then the boxes of B.
template <KernelSpec SPEC>
struct Place {
  using S = Shape<SPEC>;
  unsigned a = 0;
  unsigned small = 0;
  unsigned b = 0;
  unsigned full = 0;
  unsigned empty = 0;
  unsigned split = 0;
  unsigned scales = 0;  // of its spans
  int parity = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE Place<SPEC> place_of(const Slot& slot) {
  using S = Shape<SPEC>;
  Place<SPEC> place;
  place.a = static_cast<unsigned>(slot.stage * S::kStageBytes);
  place.small = place.a + S::kBoxesA * S::kBoxA;
  place.b = place.a + S::kStageBytes - S::kBoxesB * S::kBoxB;
  place.full = static_cast<unsigned>(S::kStages * S::kStageBytes + stage_barrier_bytes(SPEC) * slot.stage);
  place.empty = place.full + 8;
  place.split = place.full + 16;
  place.scales = static_cast<unsigned>(scales_offset(SPEC) + slot.stage * stage_scale_bytes(SPEC));
  place.parity = slot.parity;
  return place;
}

// Two warpgroups that take turns at whole tiles (pingpong): each waits at its own barrier for the other, which arrives
// there with its four warps when its turn ends. The first turn is warpgroup 0's, and nobody's to wait for. A turn may
// begin, and with it the waits for its slices, only when the other has seen all of its own: a wait tells phases apart
// by their parity alone, so it must never be two phases ahead.
struct Turns {
  unsigned mine = 0;
  unsigned others = 0;
  int parity = 0;  // of the next turn
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE Turns turns_of(int warpgroup) {
  constexpr auto kBarriers = static_cast<unsigned>(turns_offset(SPEC));
  const unsigned mine = kBarriers + static_cast<unsigned>(8 * warpgroup);
  return {mine, 2 * kBarriers + 8 - mine, warpgroup == 0 ? 1 : 0};
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE void begin_tile(Turns& turns) {
  if constexpr (SPEC.tile.pingpong != 0) {
    ptx::mbarrier_wait(turns.mine, turns.parity);
    turns.parity ^= 1;
  }
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE void end_tile(const Turns& turns, int lane) {
  if constexpr (SPEC.tile.pingpong != 0) {
    if (lane == 0) ptx::mbarrier_arrive(turns.others);
  }
}

// Where the blocks that multiply parts of K send each other their sums: `filled`, whose phase ends when the others'
// sums of a tile are here, and `emptied`, whose phase ends when the others have read what this block sent them.
template <KernelSpec SPEC>
struct Exchange {
  static constexpr auto kFilled = static_cast<unsigned>(exchange_offset(SPEC));
  static constexpr unsigned kEmptied = kFilled + 8;
  static constexpr unsigned kSums = kFilled + 16;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE void init_exchange() {
  if constexpr (Shape<SPEC>::kParts > 1) {
    constexpr int kOthers = SPEC.tile.num_warps * (Shape<SPEC>::kParts - 1);  // warps
    ptx::mbarrier_init(Exchange<SPEC>::kFilled, 1 + kOthers);                 // and the thread that expects bytes
    ptx::mbarrier_init(Exchange<SPEC>::kEmptied, kOthers);
  }
}

// Arrivals of a warp that has read a stage, or brought its scales: its lanes read scales alone one by one.
template <KernelSpec SPEC>
inline constexpr int kArrivals = brings_scales(SPEC) ? ptx::kArrivingLanes : 1;

// By one thread, before anything else.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void init_ring() {
  init_tiles<SPEC>();
  for (int stage = 0; stage < SPEC.tile.num_stages; ++stage) {
    const Place<SPEC> place = place_of<SPEC>({stage, 0});
    // The copying thread, whose bytes count themselves, and the warps that bring scales.
    constexpr int kOthers = Shape<SPEC>::kCluster - 1;
    ptx::mbarrier_init(place.full, 1 + scale_warps(SPEC) * kArrivals<SPEC>);
    ptx::mbarrier_init(place.empty, 4 * sharers(SPEC.tile) * (kArrivals<SPEC> + kOthers));  // of who reads it
    if constexpr (Shape<SPEC>::kSplits) ptx::mbarrier_init(place.split, kSplittingWarps);
  }
  if constexpr (SPEC.tile.pingpong != 0) {
    const Turns turns = turns_of<SPEC>(0);
    ptx::mbarrier_init(turns.mine, 4);
    ptx::mbarrier_init(turns.others, 4);
  }
  init_exchange<SPEC>();
  ptx::mbarrier_fence_inits();
}

// To all blocks of a cluster that copy for each other.
template <KernelSpec SPEC>
constexpr auto kToAll = static_cast<unsigned short>((1 << Shape<SPEC>::kCluster) - 1);

// By one thread: this block's copies of one box of A, so many pieces of it. Where tokens are shared, the blocks take
// the pieces in turns, each for all of them. The others' bytes may be counted before this block expects them, but never
// in an earlier phase, which all blocks have read before any copies again.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void copy_tokens(const TensorMap& map, const OutputTile& tile, int column, int pieces, unsigned to,
                                  unsigned full) {
  using S = Shape<SPEC>;
  constexpr int kSharers = S::kTile.cluster_size;
  constexpr int kPieceBytes = S::kPieceRows * kBoxBytes;
  const int first = kSharers > 1 ? ptx::cluster_rank() : 0;
  const int row = static_cast<int>(tile.row);
#pragma unroll
  for (int i = 0; i < ceil_divide(S::kPieces, kSharers); ++i) {
    const int piece = first + i * kSharers;
    if (piece >= pieces) return;
    const unsigned at = to + static_cast<unsigned>(piece * kPieceBytes);
    if constexpr (kSharers == 1) {
      ptx::copy_box(at, map, column, row + piece * S::kPieceRows, full);
    } else {
      ptx::copy_box_to(at, map, column, row + piece * S::kPieceRows, full, kToAll<SPEC>);
    }
  }
}
// Likewise of one box of B: where the tile's weights are shared, each block's part for all of them. row: the tile's
// first.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void copy_weights(const TensorMap& map, bool is_shared, int column, int row, unsigned to,
                                   unsigned full) {
  constexpr int kRows = box_rows_b(SPEC);
  if constexpr (SPEC.tile.cluster_m == 1) {
    ptx::copy_box(to, map, column, row, full);
  } else if (is_shared) {
    const int part = ptx::cluster_rank() * kRows;
    ptx::copy_box_to(to + static_cast<unsigned>(part * kBoxBytes), map, column, row + part, full, kToAll<SPEC>);
  } else {
#pragma unroll
    for (int part = 0; part < SPEC.tile.block_size_n; part += kRows) {
      ptx::copy_box(to + static_cast<unsigned>(part * kBoxBytes), map, column, row + part, full);
    }
  }
}

// Pieces of a box of A that are copied of a tile.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int copied_pieces(const OutputTile& tile) {
  using S = Shape<SPEC>;
  return cuts_tokens(SPEC) ? ceil_divide(tile.rows, S::kPieceRows) : S::kPieces;
}

// By one thread: the copies of slices `from` to `until` of a turn's tile, of those that this block multiplies, the
// first of which goes to `slot`. The last piece's rows behind the tile's end are copied too, and those behind the
// matrix's become zero: what is made of them is never written. The tile is read where it was told, since the copying
// warp has no registers to keep it in while it looks for the next one.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void copy_slices(const TiledArgs& in, int turn, int from, int until, Slot& slot) {
  using S = Shape<SPEC>;
  const OutputTile tile = told_tile(told_place<SPEC>(turn));
  const int row_b = tile.expert * in.args.n + tile.column;  // a matrix has fewer than 2^31 rows
  const int pieces = copied_pieces<SPEC>(tile);
  const int bytes = S::kBoxesB * S::kBoxB + S::kBoxesA * pieces * S::kPieceRows * kBoxBytes;
  const int first = first_slice<SPEC>(in.args.k);
#pragma unroll 1
  for (int i = from; i < until; ++i, next<SPEC>(slot)) {
    const Place<SPEC> place = place_of<SPEC>(slot);
    ptx::mbarrier_wait(place.empty, place.parity ^ 1);  // what the stage held before has been read
    ptx::mbarrier_arrive_expecting(place.full, bytes);
    const int k = (first + i) * S::kTile.block_size_k;
#pragma unroll
    for (int box = 0; box < S::kBoxesB; ++box) {
      copy_weights<SPEC>(in.b, tile.is_shared != 0, k + box * box_elements(SPEC.b), row_b,
                         place.b + static_cast<unsigned>(box * S::kBoxB), place.full);
    }
#pragma unroll
    for (int box = 0; box < S::kBoxesA; ++box) {
      copy_tokens<SPEC>(in.a, tile, k + box * box_elements(SPEC.a), pieces,
                        place.a + static_cast<unsigned>(box * S::kBoxA), place.full);
    }
  }
}

// Before the arrival of a warp whose lanes have each read or stored their own scales, where one speaks for all.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void gather_lanes() {
  if constexpr (kArrivals<SPEC> == 1 && brings_scales(SPEC)) ptx::warp_barrier();
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE void arrive_for_warp(unsigned barrier, int lane) {
  gather_lanes<SPEC>();
  if (kArrivals<SPEC> > 1 || lane == 0) ptx::mbarrier_arrive(barrier);
}

// This warp has read the stage, with its scales: every block that copies to it may.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void release(unsigned empty, int lane) {
  if constexpr (Shape<SPEC>::kCluster == 1) return arrive_for_warp<SPEC>(empty, lane);
  gather_lanes<SPEC>();
  if constexpr (kArrivals<SPEC> == 1) {
    if (lane < Shape<SPEC>::kCluster) ptx::mbarrier_arrive_at(empty, lane);
  } else {
    ptx::mbarrier_arrive(empty);
    if (lane < Shape<SPEC>::kCluster && lane != ptx::cluster_rank()) ptx::mbarrier_arrive_at(empty, lane);
  }
}

}  // namespace expertile::sm90
