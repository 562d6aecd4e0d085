#pragma once
// Which tile of C a block works on. seg_indptr is read here, on the device: groups may be empty, and no kernel has to
// run before this one.

#include "kernel_spec.hpp"
#include <ptx.hpp>

namespace expertile::sm80 {

struct OutputTile {
  long long expert = 0;
  long long row = 0;  // first row of C
  int rows = 0;       // at most BLOCK_SIZE_M; 0: there is no such tile
  int column = 0;     // first column
};

// Within a group, GROUP_SIZE_M row tiles pass over one column tile (its B stays in the L2) before the next.
template <TileConfig TILE>
EXPERTILE_DEVICE OutputTile tile_of_group(const KernelArgs& args, int group, int local) {
  const long long begin = ptx::load_global(args.seg_indptr + group);
  const long long end = ptx::load_global(args.seg_indptr + group + 1);
  const int row_tiles = static_cast<int>((end - begin + TILE.block_size_m - 1) / TILE.block_size_m);
  const int column_tiles = ceil_divide(args.n, TILE.block_size_n);
  const int band_row = local / (TILE.group_size_m * column_tiles) * TILE.group_size_m;
  const int band_rows = row_tiles - band_row < TILE.group_size_m ? row_tiles - band_row : TILE.group_size_m;
  const int in_band = local - band_row * column_tiles;
  OutputTile tile;
  tile.expert = ptx::load_global(args.weight_indices + group);
  tile.row = begin + static_cast<long long>(band_row + in_band % band_rows) * TILE.block_size_m;
  const long long left = end - tile.row;
  tile.rows = left < TILE.block_size_m ? static_cast<int>(left) : TILE.block_size_m;
  tile.column = in_band / band_rows * TILE.block_size_n;
  return tile;
}

// The tile with number `wanted` in the sequence of all groups' tiles. One thread a group counts, the block adds up, as
// often as there are groups for all threads. Every thread calls it; shared memory [0, kSchedulerBytes) is used.
template <TileConfig TILE>
EXPERTILE_DEVICE OutputTile find_tile(const KernelArgs& args, int wanted) {
  constexpr int kThreads = threads_of(TILE);
  constexpr unsigned kFound = 4 * 32;  // behind the sums of at most 32 warps: group, local number
  const int thread = ptx::thread_index();
  const int column_tiles = ceil_divide(args.n, TILE.block_size_n);
  int before = 0;  // tiles of the groups of earlier rounds
  for (int first = 0; first < args.groups; first += kThreads) {
    const int group = first + thread;
    int tiles = 0;
    if (group < args.groups) {
      const long long rows = ptx::load_global(args.seg_indptr + group + 1) - ptx::load_global(args.seg_indptr + group);
      tiles = static_cast<int>((rows + TILE.block_size_m - 1) / TILE.block_size_m) * column_tiles;
    }
    int until = tiles;  // of this warp's groups up to this one
    for (int distance = 1; distance < 32; distance *= 2) {
      const int below = ptx::shuffle_up(until, distance);
      if (thread % 32 >= distance) until += below;
    }
    if (thread % 32 == 31) ptx::store_shared(static_cast<unsigned>(thread / 32 * 4), until);
    if (thread == 0) ptx::store_shared(kFound, -1);
    ptx::barrier();  // sums of all warps are there
    int total = 0;
    for (int warp = 0; warp < TILE.num_warps; ++warp) {
      const int sum = ptx::load_shared<int>(static_cast<unsigned>(warp * 4));
      if (warp < thread / 32) until += sum;
      total += sum;
    }
    const int local = wanted - before - (until - tiles);
    if (local >= 0 && local < tiles) {
      ptx::store_shared(kFound, group);
      ptx::store_shared(kFound + 4, local);
    }
    ptx::barrier();  // the finder has written
    const int found = ptx::load_shared<int>(kFound);
    const int found_local = found >= 0 ? ptx::load_shared<int>(kFound + 4) : 0;
    ptx::barrier();  // all have read, the next round may write
    if (found >= 0) return tile_of_group<TILE>(args, found, found_local);
    before += total;
  }
  return {};
}

}  // namespace expertile::sm80
