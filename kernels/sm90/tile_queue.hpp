#pragma once
// Which tiles a block works on, one after the other: the tile of each wave. The producer warp alone looks for them,
// ahead of the others, and pushes them into a queue in shared memory: finding one takes three divisions and a dozen
// shuffles one after the other, a thousand clocks, for which the consumers would stand still at every tile.
//
// The queue has kQueueSlots slots, each with two barriers: `full`, whose phase ends when the tile is there, and
// `empty`, whose phase ends when every warp that works on it has read it.
//
// A cluster's first tile is the one of its own number, and then, where tiles are large, the next one that no cluster
// has claimed: those that get tiles that are cut short take more of them, however skewed the routing. A counter in
// global memory says how many have been claimed. Each cluster claims until there is no tile left, and the last one that
// gets none resets the counter. Without a counter, and where tiles are small, the waves are static.

#include <ptx90.hpp>

#include "kernel_shape.hpp"
#include "scheduler.hpp"

namespace expertile::sm90 {

// ---- the number of the next tile ----------------------------------------------------------------------------------

// The number that a cluster's first block sends the others, and two barriers: `full`, of each of the others, whose
// phase ends when the number is there, and `empty`, of the first block, whose phase ends when all others have read it.
template <KernelSpec SPEC>
struct ClusterTile {
  static constexpr auto kNumber = static_cast<unsigned>(kLayout<SPEC>.cluster_tile);
  static constexpr unsigned kFull = kNumber + 16;
  static constexpr unsigned kEmpty = kFull + kBarrierBytes;
  static constexpr int kOthers = cluster_blocks(SPEC.tile) - 1;
};

// Claims the next tile for this block's cluster: how many had been claimed before. The answer takes a thousand clocks,
// for which nobody waits before it is used. By one thread of a cluster's first block, once a tile.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int claim_tile(const TiledArgs& in) {
  if constexpr (counts_tiles(SPEC.tile)) {
    if (in.tile_counter != nullptr && ptx::cluster_rank() == 0) return ptx::add_global(in.tile_counter, 1);
  }
  return 0;
}

// The claim, in all blocks of the cluster. By one thread of each. wave: the one that it is for, from wave 1 on.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int share_claim(int claimed, int wave) {
  using Shared = ClusterTile<SPEC>;
  const int parity = (wave - 1) % 2;
  if (ptx::cluster_rank() == 0) {
    if (Shared::kOthers > 0) ptx::mbarrier_wait(Shared::kEmpty, parity ^ 1);  // the others have the one before
    for (int other = 1; other <= Shared::kOthers; ++other) {
      ptx::store_shared_to(other, Shared::kNumber, {{static_cast<unsigned>(claimed)}}, Shared::kFull);
    }
    return claimed;
  }
  ptx::mbarrier_arrive_expecting(Shared::kFull, 16);
  ptx::mbarrier_wait(Shared::kFull, parity);
  const int number = ptx::load_shared<int>(Shared::kNumber);
  ptx::mbarrier_arrive_at(Shared::kEmpty, 0);
  return number;
}

// The number in the sequence of tiles that this block's cluster takes in a wave. Collective of a warp. claimed: of
// claim_tile, in the first block's elected lane, where there is a counter.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int tile_number(const TiledArgs& in, const ptx::Elected& elected, int wave, int claimed) {
  constexpr int kBlocks = cluster_blocks(SPEC.tile);
  const int clusters = ptx::grid_size() / kBlocks;
  if constexpr (counts_tiles(SPEC.tile)) {
    if (in.tile_counter != nullptr && wave > 0) {
      const int taken = elected.is_this ? share_claim<SPEC>(claimed, wave) : 0;
      return clusters + ptx::shuffle(taken, elected.lane);
    }
  }
  return tile_of_wave(ptx::block_index() / kBlocks, clusters, wave);
}

// When there is no tile with this number, which was claimed for this wave: resets the counter where nobody will claim
// any more. Of all claims, as many get a tile as there are tiles beyond the clusters' first ones, and then each cluster
// gets none once. Collective of a warp.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void reset_counter(const TiledArgs& in, const ptx::Elected& elected, const GroupCursor& groups,
                                    int number, int wave) {
  if constexpr (counts_tiles(SPEC.tile)) {
    const int tiles = count_tiles(groups);
    if (in.tile_counter == nullptr || !elected.is_this || ptx::cluster_rank() != 0) return;
    const int clusters = ptx::grid_size() / cluster_blocks(SPEC.tile);
    const int claimed = wave > 0 ? number - clusters : claim_tile<SPEC>(in);  // without a first tile: claims once
    const int last = (tiles > clusters ? tiles - clusters : 0) + clusters - 1;
    if (claimed == last) ptx::store_global(in.tile_counter, 0);
  }
}

// This block's tile among those of its cluster, which have one number in the sequence. The last one of a row may lie
// behind N: it is multiplied, since the others wait for its copies, and nothing of it is written. Of row tiles one
// below the other the blocks share the weights; of an odd one they have neighbouring column tiles, and share nothing.
// Blocks that split K all have the same.
template <KernelSpec SPEC>
EXPERTILE_DEVICE OutputTile tile_of_block(const KernelArgs& args, GroupCursor& groups, int number) {
  OutputTile tile = find_tile<cluster_tile(SPEC.tile), SPEC.rows>(args, groups, number);
  if constexpr (SPEC.tile.cluster_size > 1) tile.column += ptx::cluster_rank() * SPEC.tile.block_size_n;
  if constexpr (SPEC.tile.cluster_m > 1) {
    if (tile.rows < 0) return tile;
    constexpr int kRows = SPEC.tile.block_size_m;
    if (tile.is_shared == 0) {
      tile.column += ptx::cluster_rank() * SPEC.tile.block_size_n;
      if (tile.column >= args.n) tile.rows = 0;
      return tile;
    }
    const int before = ptx::cluster_rank() * kRows;
    const int rows = tile.rows - before;
    tile.row += before;
    tile.rows = rows < kRows ? rows : kRows;
  }
  return tile;
}

// ---- the queue ----------------------------------------------------------------------------------------------------

// The slot of a wave's tile, and its barriers.
struct QueueSlot {
  unsigned tile = 0;
  unsigned full = 0;
  unsigned empty = 0;
  int parity = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE QueueSlot queue_slot(int wave) {
  constexpr SharedLayout kAt = kLayout<SPEC>;
  const auto tile = static_cast<unsigned>(kAt.tile_queue + wave % kQueueSlots * kAt.queue_slot_bytes);
  const unsigned full = tile + kTileBytes;
  return {tile, full, full + kBarrierBytes, wave / kQueueSlots % 2};
}

// By one thread, before anything else.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void init_tile_queue() {
  for (int wave = 0; wave < kQueueSlots; ++wave) {
    const QueueSlot slot = queue_slot<SPEC>(wave);
    ptx::mbarrier_init(slot.full, 1);
    ptx::mbarrier_init(slot.empty, queue_readers(SPEC) * ptx::kArrivingLanes);
  }
  if constexpr (kLayout<SPEC>.cluster_tile_bytes > 0) {
    ptx::mbarrier_init(ClusterTile<SPEC>::kFull, 1);
    ptx::mbarrier_init(ClusterTile<SPEC>::kEmpty, ClusterTile<SPEC>::kOthers);
  }
}

// By one thread of the producer warp: acquires the wave's slot, writes the tile, and commits it.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void push_tile(const OutputTile& tile, int wave) {
  const QueueSlot slot = queue_slot<SPEC>(wave);
  ptx::mbarrier_wait(slot.empty, slot.parity ^ 1);  // the tile before has been read
  ptx::store_shared(slot.tile, tile.row);
  ptx::store_shared(slot.tile + 8, tile.rows);
  ptx::store_shared(slot.tile + 12, tile.column);
  ptx::store_shared(slot.tile + 16, tile.expert);
  ptx::store_shared(slot.tile + 20, tile.is_shared);
  ptx::mbarrier_arrive(slot.full);
}

// The tile of a slot, by one thread that knows it to be there.
EXPERTILE_DEVICE OutputTile queued_tile(const QueueSlot& slot) {
  OutputTile tile;
  tile.row = ptx::load_shared<long long>(slot.tile);
  tile.rows = ptx::load_shared<int>(slot.tile + 8);
  tile.column = ptx::load_shared<int>(slot.tile + 12);
  tile.expert = ptx::load_shared<int>(slot.tile + 16);
  tile.is_shared = ptx::load_shared<int>(slot.tile + 20);
  return tile;
}

// Collective of a warp: waits for the wave's tile, reads it, and releases its slot. All lanes read, and one arrives
// when all have. "No tile" is the last that anybody reads, and is not released.
template <KernelSpec SPEC>
EXPERTILE_DEVICE OutputTile pop_tile(int wave) {
  const QueueSlot slot = queue_slot<SPEC>(wave);
  ptx::mbarrier_wait(slot.full, slot.parity);
  const OutputTile tile = queued_tile(slot);
  if (tile.rows < 0) return tile;
  if constexpr (ptx::kArrivingLanes == 1) {
    ptx::warp_barrier();
    if (ptx::elect().is_this) ptx::mbarrier_arrive(slot.empty);
  } else {
    ptx::mbarrier_arrive(slot.empty);
  }
  return tile;
}

}  // namespace expertile::sm90
