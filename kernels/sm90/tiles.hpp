#pragma once
// Which tile a block works on in each of its turns. Only the copying warp looks for it, ahead of the others, and leaves
// it in shared memory for them: finding one takes three divisions and a dozen shuffles one after the other, a thousand
// clocks, for which those that multiply would stand still at every tile.
//
// Kept are the tiles of kToldTiles turns, each with two barriers: `told`, whose phase ends when the tile is there, and
// `heard`, whose phase ends when every warp that works on it has read it.

#include <ptx90.hpp>

#include "scheduler.hpp"

namespace expertile::sm90 {

// This block's tile among those that its cluster takes in its turn-th turn, of clusters that change places. The last one of a row may lie behind N: it
// is multiplied, since the others wait for its copies, and nothing of it is written. Of row tiles one below the other
// the last may have no rows: it copies weights, too. Blocks that multiply parts of K all have the same.
template <KernelSpec SPEC>
EXPERTILE_DEVICE OutputTile take_tile(const KernelArgs& args, GroupCursor& groups, int places, int turn) {
  constexpr int kBlocks = cluster_blocks(SPEC.tile);
  const int wanted = tile_of_turn(ptx::block_index() / kBlocks, ptx::grid_size() / kBlocks, places, turn);
  OutputTile tile = find_tile<cluster_tile(SPEC.tile)>(args, groups, wanted);
  if constexpr (SPEC.tile.cluster_size > 1) tile.column += ptx::cluster_rank() * SPEC.tile.block_size_n;
  if constexpr (SPEC.tile.cluster_m > 1) {
    if (tile.rows < 0) return tile;
    constexpr int kRows = SPEC.tile.block_size_m;
    const int before = ptx::cluster_rank() * kRows;
    const int rows = tile.rows - before;
    tile.row += before;
    tile.rows = rows < 0 ? 0 : rows < kRows ? rows : kRows;
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
    ptx::mbarrier_init(place.heard, listening_warps(SPEC));
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
  ptx::mbarrier_arrive(place.told);
}

// Collective of a warp. The first lane hears for all: an arrival speaks for the lane that arrives. No tile is the last
// that anybody hears of, and is not answered.
template <KernelSpec SPEC>
EXPERTILE_DEVICE OutputTile hear_tile(int turn) {
  OutputTile tile;
  if (ptx::thread_index() % 32 == 0) {
    const ToldPlace place = told_place<SPEC>(turn);
    ptx::mbarrier_wait(place.told, place.parity);
    tile.row = ptx::load_shared<long long>(place.tile);
    tile.rows = ptx::load_shared<int>(place.tile + 8);
    tile.column = ptx::load_shared<int>(place.tile + 12);
    tile.expert = ptx::load_shared<int>(place.tile + 16);
    if (tile.rows >= 0) ptx::mbarrier_arrive(place.heard);
  }
  tile.row = ptx::shuffle(tile.row, 0);
  tile.rows = ptx::shuffle(tile.rows, 0);
  tile.column = ptx::shuffle(tile.column, 0);
  tile.expert = ptx::shuffle(tile.expert, 0);
  return tile;
}

}  // namespace expertile::sm90
