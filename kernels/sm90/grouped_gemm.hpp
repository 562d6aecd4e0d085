#pragma once
// C[r] = A[r] x B[weight_indices[g]]^T for the rows r of every group g, on Hopper.
//
// A block stays and takes a tile of C in each turn. One warp finds the tiles and copies: it runs ahead of the others by
// as many slices as the ring has stages, into the next tile too, so that memory never waits for a tile's end; others
// bring the scales of blocks likewise, or split the tokens that are there. The other warps, in warpgroups, multiply and
// write. Either all warpgroups share a tile, each with its part of X, or (pingpong) they take turns: one writes its
// tile while the other multiplies the next. Where there are fewer tiles than multiprocessors, the blocks of a cluster
// each multiply a part of K of one tile (SPLIT_K), and add up their sums at its end.

#include "sm90/epilogue.hpp"
#include "sm90/extent.hpp"

namespace expertile::sm90 {

// Finds the tile of a turn and tells it to the others; false if there is none. Collective of the copying warp. answer:
// to the question for it.
template <KernelSpec SPEC>
EXPERTILE_DEVICE bool look_for_tile(const TiledArgs& in, const ptx::Elected& elected, GroupCursor& groups, int turn,
                                    int answer) {
  ptx::warp_barrier();  // the lanes meet again, and the elected one has read the tile that is overwritten
  const int number = number_of_turn<SPEC>(in, elected, turn, answer);
  const OutputTile tile = take_tile<SPEC>(in.args, groups, number);
  if (elected.is_this) tell_tile<SPEC>(tile, turn);
  if (tile.rows >= 0) return true;
  // To the warpgroup that waits for the turn behind the last, too.
  if (SPEC.tile.pingpong != 0 && elected.is_this) tell_tile<SPEC>(tile, turn + 1);
  set_back<SPEC>(in, elected, groups, number, turn);
  return false;
}

// Slices of a tile that are copied before the next tile is asked for, and before it is looked for: all but as many as
// the ring has, so that the next tile's are on their way while the last of this one are multiplied and written. The
// answer takes as long as two slices or less.
struct Ahead {
  int asks = 0;
  int looks = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE Ahead ahead_of_end(int slices) {
  constexpr int kAnswer = 2;
  const int most = slices - SPEC.tile.num_stages;
  if (most > kAnswer) return {most - kAnswer, most};
  return {0, kAnswer < slices ? kAnswer : slices};
}

template <KernelSpec SPEC>
EXPERTILE_DEVICE void copy_tiles(const TiledArgs& in) {
  const ptx::Elected elected = ptx::elect();
  if (elected.is_this) {
    ptx::prefetch_map(in.a);
    ptx::prefetch_map(in.b);
  }
  const int slices = slice_count<SPEC>(in.args.k);
  const Ahead ahead = ahead_of_end<SPEC>(slices);
  GroupCursor groups;
  Slot slot;
  bool is_there = look_for_tile<SPEC>(in, elected, groups, 0, 0);
  for (int turn = 0; is_there; ++turn) {
    int answer = 0;
    if (elected.is_this) {
      copy_slices<SPEC>(in, turn, 0, ahead.asks, slot);
      answer = ask<SPEC>(in);
      copy_slices<SPEC>(in, turn, ahead.asks, ahead.looks, slot);
    }
    is_there = look_for_tile<SPEC>(in, elected, groups, turn + 1, answer);
    if (elected.is_this) copy_slices<SPEC>(in, turn, ahead.looks, slices, slot);
  }
}

template <KernelSpec SPEC>
EXPERTILE_DEVICE void multiply_tiles(const TiledArgs& in, int warp) {
  using S = Shape<SPEC>;
  const KernelArgs& args = in.args;
  constexpr bool kPingpong = S::kTile.pingpong != 0;
  const int warpgroup = warp / 4;
  const int slices = slice_count<SPEC>(args.k);
  WarpPlace place;
  place.lane = ptx::thread_index() % 32;
  place.group = kPingpong ? 0 : warpgroup * S::kX * 64;
  place.x = place.group + warp % 4 * 16;
  place.owner = S::kSwapped ? warpgroup : warp;
  Turns turns = turns_of<SPEC>(warpgroup);
  Slot slot;
  if (kPingpong) advance<SPEC>(slot, warpgroup * slices);
  for (int turn = kPingpong ? warpgroup : 0;; turn += kPingpong ? warpgroups(S::kTile) : 1) {
    const OutputTile tile = hear_tile<SPEC>(turn);
    if (tile.rows < 0) {
      // The last that other blocks do to this one: then it may end.
      if constexpr (S::kParts > 1) wait_until_read<SPEC>(turn);
      return finish_slabs<SPEC>(place);
    }
    typename S::Total total[S::kX][S::kY][4] = {};
    constexpr int kNarrowest = S::kSwapped ? next_columns(SPEC, 0) : 0;
    if (S::kParts == 1 || slices > 0) {
      multiply_tile<SPEC, kNarrowest>(args, tile, place, turns, slot, total);
    }
    if constexpr (S::kParts > 1) add_parts<SPEC>(tile, warp, place.lane, turn, total);
    if (kPingpong) advance<SPEC>(slot, slices);  // the other's
    write_tile<SPEC>(in, tile, place, total);
  }
}

template <KernelSpec SPEC>
EXPERTILE_DEVICE void grouped_gemm(const TiledArgs& in) {
  using S = Shape<SPEC>;
  static_assert(S::kX > 0 && tile_x(S::kTile) == 64 * S::kX * sharers(S::kTile), "64 rows of X a warpgroup");
  static_assert(S::kSpans > 0, "BLOCK_SIZE_K has at least the 128 bytes of a box of each operand");
  static_assert(!moves_registers(SPEC) || registers_suffice(SPEC), "none is waited for that nobody gives");
  static_assert(S::kSwapped || !S::kHolds, "weights that go through registers take the 64-row side");
  static_assert(S::kParts == 1 || (S::kCluster == 1 && S::kTile.pingpong == 0), "a cluster has one tile, in order");
  const int warp = ptx::shuffle(ptx::thread_index() / 32, 0);  // the same for all lanes, as the compiler can see
  if (ptx::thread_index() == 0) init_ring<SPEC>();
  if constexpr (cluster_blocks(S::kTile) == 1) {
    ptx::barrier();  // the ring's barriers can be used
  } else {
    ptx::cluster_barrier();  // the other blocks' too
  }
  ptx::wait_for_work_ahead();
  ptx::let_next_begin();
  if (warp >= S::kTile.num_warps) {
    if constexpr (moves_registers(SPEC)) ptx::give_registers<registers_to_copy(SPEC)>();
    if (warp == S::kTile.num_warps) copy_tiles<SPEC>(in);
    if constexpr (brings_scales(SPEC)) {
      const int part = warp - S::kTile.num_warps - 1;
      if (part >= 0 && part < scale_warps(SPEC)) bring_scales<SPEC>(in.args, part);
    }
    if constexpr (S::kSplits) {
      const int thread = ptx::thread_index() - 32 * (S::kTile.num_warps + 1);
      if (thread >= 0) split_tiles<SPEC>(in.args, thread);
    }
  } else {
    if constexpr (moves_registers(SPEC)) ptx::take_registers<registers_to_multiply(SPEC)>();
    multiply_tiles<SPEC>(in, warp);
  }
  // No block is gone while another one arrives at its barriers. Where parts of K are added up, each block has waited
  // for the last arrivals, but compute-sanitizer takes no other sign for that.
  if constexpr (cluster_blocks(S::kTile) > 1) ptx::cluster_barrier();
}

}  // namespace expertile::sm90
