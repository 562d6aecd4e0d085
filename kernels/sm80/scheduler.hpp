#pragma once
// Which tile of C a block works on. seg_indptr is read here, on the device: groups may be empty, and no kernel has to
// run before this one.

#include <ptx.hpp>

#include "kernel_spec.hpp"

namespace expertile::sm80 {

struct OutputTile {
  long long expert = 0;
  long long row = 0;  // first row of C
  int rows = 0;       // at most BLOCK_SIZE_M; 0: there is no such tile
  int column = 0;     // first column
};

// One lane's group: its rows, its expert and how many tiles it makes.
struct Group {
  long long begin = 0;
  long long end = 0;
  long long expert = 0;
  int tiles = 0;
};
template <TileConfig TILE>
EXPERTILE_DEVICE Group load_group(const KernelArgs& args, int index) {
  Group group;
  if (index >= args.groups) return group;
  group.begin = ptx::load_global(args.seg_indptr + index);
  group.end = ptx::load_global(args.seg_indptr + index + 1);
  group.expert = ptx::load_global(args.weight_indices + index);
  const long long row_tiles = (group.end - group.begin + TILE.block_size_m - 1) / TILE.block_size_m;
  group.tiles = static_cast<int>(row_tiles) * ceil_divide(args.n, TILE.block_size_n);
  return group;
}

// Tile `local` of a group. GROUP_SIZE_M row tiles pass over one column tile (its B stays in the L2) before the next.
template <TileConfig TILE>
EXPERTILE_DEVICE OutputTile tile_of_group(const KernelArgs& args, const Group& group, int local) {
  const int column_tiles = ceil_divide(args.n, TILE.block_size_n);
  const int row_tiles = group.tiles / column_tiles;
  const int band_row = local / (TILE.group_size_m * column_tiles) * TILE.group_size_m;
  const int band_rows = row_tiles - band_row < TILE.group_size_m ? row_tiles - band_row : TILE.group_size_m;
  const int in_band = local - band_row * column_tiles;
  OutputTile tile;
  tile.expert = group.expert;
  tile.row = group.begin + static_cast<long long>(band_row + in_band % band_rows) * TILE.block_size_m;
  const long long left = group.end - tile.row;
  tile.rows = left < TILE.block_size_m ? static_cast<int>(left) : TILE.block_size_m;
  tile.column = in_band / band_rows * TILE.block_size_n;
  return tile;
}

// The tile with number `wanted` in the sequence of all groups' tiles. Every warp finds it for itself, 32 groups at a
// time, so that nobody waits for a barrier.
template <TileConfig TILE>
EXPERTILE_DEVICE OutputTile find_tile(const KernelArgs& args, int wanted) {
  const int lane = ptx::thread_index() % 32;
  for (int first = 0; first < args.groups; first += 32) {
    const Group mine = load_group<TILE>(args, first + lane);
    int until = mine.tiles;  // of these groups, up to this one
    for (int distance = 1; distance < 32; distance *= 2) {
      const int below = ptx::shuffle_up(until, distance);
      if (lane >= distance) until += below;
    }
    const int total = ptx::shuffle(until, 31);
    if (wanted < total) {
      const int found = ptx::count_lanes(until <= wanted);  // groups that end before the wanted tile
      Group group;
      group.begin = ptx::shuffle(mine.begin, found);
      group.end = ptx::shuffle(mine.end, found);
      group.expert = ptx::shuffle(mine.expert, found);
      group.tiles = ptx::shuffle(mine.tiles, found);
      return tile_of_group<TILE>(args, group, wanted - (ptx::shuffle(until, found) - group.tiles));
    }
    wanted -= total;
  }
  return {};
}

}  // namespace expertile::sm80
