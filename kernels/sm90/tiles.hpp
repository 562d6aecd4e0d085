#pragma once
// Which tile a block works on in each of its turns. Only the copying warp looks for it, ahead of the others, and leaves
// it in shared memory for them: finding one takes three divisions and a dozen shuffles one after the other, a thousand
// clocks, for which those that multiply would stand still at every tile.
//
// Kept are the tiles of kToldTiles turns, each with two barriers: `told`, whose phase ends when the tile is there, and
// `heard`, whose phase ends when every warp that works on it has read it.
//
// A cluster's first tile is the one of its own number, and then, where tiles are large, the next one that no cluster
// has taken: those that get tiles that are cut short take more of them, however skewed the routing. A counter in global
// memory says how many have been taken so. Each cluster asks it until there is no tile left, and the last one to be
// told so sets it back. Without a counter, and where tiles are small, clusters take their turns.

#include <ptx90.hpp>

#include "scheduler.hpp"

namespace expertile::sm90 {

// The number that a cluster's first block sends the others, and two barriers: `sent`, of each of the others, whose
// phase ends when the number is there, and `received`, of the first block, whose phase ends when all others have it.
template <KernelSpec SPEC>
struct Numbers {
  static constexpr auto kNumber = static_cast<unsigned>(numbers_offset(SPEC));
  static constexpr unsigned kSent = kNumber + 16;
  static constexpr unsigned kReceived = kNumber + 24;
  static constexpr int kOthers = cluster_blocks(SPEC.tile) - 1;
};

// Asks how many tiles all clusters have taken, for this block's cluster to take the next. The answer takes a thousand
// clocks, for which nobody waits before it is used. By one thread of a cluster's first block, once a tile.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int ask(const TiledArgs& in) {
  if constexpr (counts_taken(SPEC.tile)) {
    if (in.taken != nullptr && ptx::cluster_rank() == 0) return ptx::add_global(in.taken, 1);
  }
  return 0;
}

// The answer, in all blocks of the cluster. By one thread of each. turn: what is asked for, from turn 1 on.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int tell_answer(int answer, int turn) {
  using N = Numbers<SPEC>;
  const int parity = (turn - 1) % 2;
  if (ptx::cluster_rank() == 0) {
    if (N::kOthers > 0) ptx::mbarrier_wait(N::kReceived, parity ^ 1);  // the others have the one before
    for (int other = 1; other <= N::kOthers; ++other) {
      ptx::store_shared_to(other, N::kNumber, {{static_cast<unsigned>(answer)}}, N::kSent);
    }
    return answer;
  }
  ptx::mbarrier_arrive_expecting(N::kSent, 16);
  ptx::mbarrier_wait(N::kSent, parity);
  const int number = ptx::load_shared<int>(N::kNumber);
  ptx::mbarrier_arrive_at(N::kReceived, 0);
  return number;
}

// The number in the sequence of tiles that this block's cluster takes in its turn-th turn. Collective of a warp.
// answer: the counter's, in the first block's elected lane, where there is a counter.
template <KernelSpec SPEC>
EXPERTILE_DEVICE int number_of_turn(const TiledArgs& in, const ptx::Elected& elected, int turn, int answer) {
  constexpr int kBlocks = cluster_blocks(SPEC.tile);
  const int clusters = ptx::grid_size() / kBlocks;
  if constexpr (counts_taken(SPEC.tile)) {
    if (in.taken != nullptr && turn > 0) {
      const int taken = elected.is_this ? tell_answer<SPEC>(answer, turn) : 0;
      return clusters + ptx::shuffle(taken, elected.lane);
    }
  }
  return tile_of_turn(ptx::block_index() / kBlocks, clusters, turn);
}

// When there is no tile with this number, which was asked for in this turn: sets the counter back where nobody will ask
// any more. Of all that ask, as many are answered with a tile as there are tiles beyond the clusters' first ones, and
// then each cluster once with none. Collective of a warp.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void set_back(const TiledArgs& in, const ptx::Elected& elected, const GroupCursor& groups, int number,
                               int turn) {
  if constexpr (counts_taken(SPEC.tile)) {
    const int tiles = count_tiles(groups);
    if (in.taken == nullptr || !elected.is_this || ptx::cluster_rank() != 0) return;
    const int clusters = ptx::grid_size() / cluster_blocks(SPEC.tile);
    const int taken = turn > 0 ? number - clusters : ask<SPEC>(in);  // without a first tile: asks once
    const int last = (tiles > clusters ? tiles - clusters : 0) + clusters - 1;
    if (taken == last) ptx::store_global(in.taken, 0);
  }
}

// This block's tile among those of its cluster, which have one number in the sequence. The last one of a row may lie
// behind N: it is multiplied, since the others wait for its copies, and nothing of it is written. Of row tiles one
// below the other the blocks share the weights; of an odd one they have neighbouring column tiles, and share nothing.
// Blocks that multiply parts of K all have the same.
template <KernelSpec SPEC>
EXPERTILE_DEVICE OutputTile take_tile(const KernelArgs& args, GroupCursor& groups, int number) {
  OutputTile tile = find_tile<cluster_tile(SPEC.tile)>(args, groups, number);
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

// Where the tile of a turn lies, and its barriers.
struct ToldPlace {
  unsigned tile = 0;
  unsigned told = 0;
  unsigned heard = 0;
  int parity = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE ToldPlace told_place(int turn) {
  const auto at = static_cast<unsigned>(told_offset(SPEC) + turn % kToldTiles * kToldBytes);
  return {at, at + 32, at + 40, turn / kToldTiles % 2};
}

// By one thread, before anything else.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void init_tiles() {
  for (int turn = 0; turn < kToldTiles; ++turn) {
    const ToldPlace place = told_place<SPEC>(turn);
    ptx::mbarrier_init(place.told, 1);
    ptx::mbarrier_init(place.heard, listening_warps(SPEC) * ptx::kArrivingLanes);
  }
  if constexpr (numbers_bytes(SPEC) > 0) {
    ptx::mbarrier_init(Numbers<SPEC>::kSent, 1);
    ptx::mbarrier_init(Numbers<SPEC>::kReceived, Numbers<SPEC>::kOthers);
  }
}

// By one thread of the copying warp.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void tell_tile(const OutputTile& tile, int turn) {
  const ToldPlace place = told_place<SPEC>(turn);
  ptx::mbarrier_wait(place.heard, place.parity ^ 1);  // the tile before has been read
  ptx::store_shared(place.tile, tile.row);
  ptx::store_shared(place.tile + 8, tile.rows);
  ptx::store_shared(place.tile + 12, tile.column);
  ptx::store_shared(place.tile + 16, tile.expert);
  ptx::store_shared(place.tile + 20, tile.is_shared);
  ptx::mbarrier_arrive(place.told);
}

// The tile of a turn, by one thread that knows it to be there.
EXPERTILE_DEVICE OutputTile told_tile(const ToldPlace& place) {
  OutputTile tile;
  tile.row = ptx::load_shared<long long>(place.tile);
  tile.rows = ptx::load_shared<int>(place.tile + 8);
  tile.column = ptx::load_shared<int>(place.tile + 12);
  tile.expert = ptx::load_shared<int>(place.tile + 16);
  tile.is_shared = ptx::load_shared<int>(place.tile + 20);
  return tile;
}

// Collective of a warp. All lanes hear, and one answers when all have. No tile is the last that anybody hears of, and
// is not answered.
template <KernelSpec SPEC>
EXPERTILE_DEVICE OutputTile hear_tile(int turn) {
  const ToldPlace place = told_place<SPEC>(turn);
  ptx::mbarrier_wait(place.told, place.parity);
  const OutputTile tile = told_tile(place);
  if (tile.rows < 0) return tile;
  if constexpr (ptx::kArrivingLanes == 1) {
    ptx::warp_barrier();
    if (ptx::elect().is_this) ptx::mbarrier_arrive(place.heard);
  } else {
    ptx::mbarrier_arrive(place.heard);
  }
  return tile;
}

}  // namespace expertile::sm90
