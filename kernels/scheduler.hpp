#pragma once
// Which tile of C a block works on, for both families. The groups' rows are read here, on the device: groups may be
// empty, and no kernel has to run before this one.

#include <ptx.hpp>

#include "kernel_shape.hpp"

namespace expertile {

struct OutputTile {
  int expert = 0;
  long long row = 0;  // first row of C
  int rows = -1;      // at most BLOCK_SIZE_M; -1: there is no such tile
  int column = 0;     // first column
  int is_shared = 1;  // its weights, by the blocks of a cluster that has row tiles (CLUSTER_M): all but odd ones
};

// One lane's group: its rows and its expert. Kept small: the portable family's warps keep it along.
struct Group {
  int begin = 0;  // a matrix has fewer than 2^31 rows
  int rows = 0;
  int expert = 0;
};
// Whether a group can be multiplied: its expert is there, and its rows are rows of A. What engines write for padding
// (-1), and whatever else stands in the arrays, makes an empty group rather than an access outside the tensors. Numbers
// below zero are larger than all others here.
EXPERTILE_DEVICE bool is_right(const KernelArgs& args, long long begin, long long end, long long expert) {
  using Unsigned = unsigned long long;
  return static_cast<Unsigned>(begin) <= static_cast<Unsigned>(end) &&
         static_cast<Unsigned>(end) <= static_cast<Unsigned>(args.rows) &&
         static_cast<Unsigned>(expert) < static_cast<Unsigned>(args.experts);
}

// A group's rows and expert as the arrays have them, right or not, by the layout.
struct Told {
  long long begin = 0;
  long long end = 0;
  long long expert = 0;
};
// Rows that are masked: a count outside [0, max_m] is cut to it.
EXPERTILE_DEVICE int masked_rows(const int* masked_m, int max_m, int group) {
  const int rows = ptx::load_global(masked_m + group);
  return rows < 0 ? 0 : rows > max_m ? max_m : rows;
}
template <Rows ROWS>
EXPERTILE_DEVICE Told told_group(const KernelArgs& args, int index) {
  Told told;
  if constexpr (ROWS == Rows::masked) {
    told.begin = static_cast<long long>(index) * args.max_m;
    told.end = told.begin + masked_rows(args.masked_m, args.max_m, index);
    told.expert = args.weight_indices != nullptr ? ptx::load_global(args.weight_indices + index) : index;
  } else if constexpr (ROWS == Rows::offsets_32) {
    told.begin = ptx::load_global(args.seg_indptr_32 + index);
    told.end = ptx::load_global(args.seg_indptr_32 + index + 1);
    told.expert = ptx::load_global(args.weight_indices + index);
  } else {
    told.begin = ptx::load_global(args.seg_indptr + index);
    told.end = ptx::load_global(args.seg_indptr + index + 1);
    told.expert = ptx::load_global(args.weight_indices + index);
  }
  return told;
}
// decreases: whether the group's offsets do, so that groups behind it may have rows of those before it.
template <Rows ROWS>
EXPERTILE_DEVICE Group load_group(const KernelArgs& args, int index, bool& decreases) {
  Group group;
  decreases = false;
  if (index >= args.groups) return group;
  const auto [begin, end, expert] = told_group<ROWS>(args, index);
  decreases = end < begin;
  if (!is_right(args, begin, end, expert)) return group;
  group.begin = static_cast<int>(begin);
  group.rows = static_cast<int>(end - begin);
  group.expert = static_cast<int>(expert);
  return group;
}

// Rows that offsets put into several groups stay with the first of them: no row of C is written twice, and there are no
// more tiles than the host has launched blocks for. Only where some offset decreases can groups have rows in common, so
// nothing is kept for this: the groups before are read again. Collective of a warp that has 32 groups in hand, from
// `first` on.
template <Rows ROWS>
EXPERTILE_DEVICE void cut_common_rows(const KernelArgs& args, Group& mine, int first, int lane) {
  bool ignored = false;
  int end = 0;  // of the rows of all groups before
#pragma unroll 1
  for (int index = 0; index < first; index += 32) {
    const Group before = load_group<ROWS>(args, index + lane, ignored);
    end = ptx::largest(before.rows > 0 && before.begin + before.rows > end ? before.begin + before.rows : end);
  }
  int taken = mine.rows > 0 ? mine.begin + mine.rows : 0;  // the furthest end up to and with this lane's
#pragma unroll 1
  for (int distance = 1; distance < 32; distance *= 2) {
    const int below = ptx::shuffle_up(taken, distance);
    if (lane >= distance && below > taken) taken = below;
  }
  const int before = ptx::shuffle_up(taken, 1);
  if (lane > 0 && before > end) end = before;
  const int cut = end > mine.begin ? end - mine.begin : 0;
  mine.begin += cut;
  mine.rows = mine.rows > cut ? mine.rows - cut : 0;
}

// Rows of a group's tiles but the last one: all alike where a tile costs what its rows cost, so that no tile reads its
// weights for a handful of rows.
template <TileConfig TILE>
EXPERTILE_DEVICE int rows_of_tiles(const Group& group, int row_tiles) {
  if constexpr (TILE.kernel != KernelFamily::sm90 || TILE.swap_ab == 0) {
    return TILE.block_size_m;
  } else {
    constexpr int kUnit = 8;  // of the tensor core's columns
    return ceil_divide(ceil_divide(group.rows, row_tiles), kUnit) * kUnit;
  }
}

// Whether the last row tile of a group is an odd one: of the two row tiles that a cluster's are (CLUSTER_M), the group
// has rows of the first alone. The cluster's blocks take two column tiles of it then, one each, rather than stand idle.
template <TileConfig TILE>
EXPERTILE_DEVICE bool has_odd_row(int rows) {
  static_assert(TILE.cluster_m <= 2);
  if constexpr (TILE.cluster_m == 1) return false;
  return rows > 0 && (rows - 1) % TILE.block_size_m < TILE.block_size_m / 2;
}
template <TileConfig TILE>
EXPERTILE_DEVICE int tiles_of_group(int rows, int n) {
  const int column_tiles = ceil_divide(n, TILE.block_size_n);
  return ceil_divide(rows, TILE.block_size_m) * column_tiles - (has_odd_row<TILE>(rows) ? column_tiles / 2 : 0);
}

// Where tile `local` of a band lies in it, in tiles. The band's row tiles pass over one column tile (its B stays in the
// L2) before the next. With an odd row tile, over two: the others over the first and the second, it over both at once.
struct TileInBand {
  int row = 0;
  int column = 0;
};
EXPERTILE_DEVICE TileInBand tile_in_band(int local, int rows) { return {local % rows, local / rows}; }
EXPERTILE_DEVICE TileInBand tile_in_odd_band(int local, int rows, int columns) {
  const int others = rows - 1;
  const int column = local / (2 * others + 1) * 2;
  const int in_columns = local - column / 2 * (2 * others + 1);
  if (in_columns >= (columns - column < 2 ? 1 : 2) * others) return {others, column};
  const TileInBand at = tile_in_band(in_columns, others);
  return {at.row, column + at.column};
}

// Tile `local` of a group, band by band.
template <TileConfig TILE>
EXPERTILE_DEVICE OutputTile tile_of_group(const KernelArgs& args, const Group& group, int local) {
  const int column_tiles = ceil_divide(args.n, TILE.block_size_n);
  const int row_tiles = ceil_divide(group.rows, TILE.block_size_m);
  const int whole_band = rows_of_bands(TILE, row_tiles);
  const int band_row = local / (whole_band * column_tiles) * whole_band;
  const int band_rows = row_tiles - band_row < whole_band ? row_tiles - band_row : whole_band;
  const int in_band = local - band_row * column_tiles;
  const bool is_odd = has_odd_row<TILE>(group.rows) && band_row + band_rows == row_tiles;
  const TileInBand at = is_odd ? tile_in_odd_band(in_band, band_rows, column_tiles) : tile_in_band(in_band, band_rows);
  const int rows = rows_of_tiles<TILE>(group, row_tiles);
  OutputTile tile;
  tile.expert = group.expert;
  const int first = (band_row + at.row) * rows;
  const int left = group.rows - first;
  tile.row = group.begin + first;
  tile.rows = left < rows ? left : rows;
  tile.column = at.column * TILE.block_size_n;
  if (is_odd && at.row == band_rows - 1) tile.is_shared = 0;
  return tile;
}

// Large tiles of 32 groups are taken in the order of the groups' rows, the most first: what is left for the end are
// tiles that are cut short, which even out what the blocks have had before.
//
// Collective of a warp: each lane gets the group of its rank, equal ones in their order.
EXPERTILE_DEVICE void put_heaviest_first(Group& mine, int lane) {
  int rank = 0;
#pragma unroll 4  // the copying warp has few registers
  for (int other = 0; other < 32; ++other) {
    const int rows = ptx::shuffle(mine.rows, other);
    rank += rows > mine.rows || (rows == mine.rows && other < lane) ? 1 : 0;
  }
  int from = 0;  // the lane whose group has this lane's rank
#pragma unroll 4
  for (int other = 0; other < 32; ++other) {
    if (ptx::shuffle(rank, other) == lane) from = other;
  }
  mine.begin = ptx::shuffle(mine.begin, from);
  mine.rows = ptx::shuffle(mine.rows, from);
  mine.expert = ptx::shuffle(mine.expert, from);
}

// But where the lightest has few rows and the heaviest many times as many, tiles are taken from both ends alternately:
// those of light groups wait for memory and those of heavy ones for products, and so neither stands still while the
// other works. (Where the lightest has more rows, it is products that all wait for, and the order of before is better.)
// Collective of a warp, of groups in the order of their rows: the index of tile `local` of `total` in that order.
constexpr int kFewRows = 64;
constexpr int kManyTimes = 4;
EXPERTILE_DEVICE int from_both_ends(const Group& mine, int local, int total) {
  const int lightest = ptx::shuffle(mine.rows, ptx::count_lanes(mine.rows > 0) - 1);
  if (lightest >= kFewRows || ptx::shuffle(mine.rows, 0) < kManyTimes * lightest) return local;
  return local % 2 == 0 ? local / 2 : total - 1 - local / 2;
}

// The 32 groups that a warp has in hand, one a lane. Tiles are asked for in rising order, so no group is looked at
// twice, however many tiles a block takes.
struct GroupCursor {
  int next = 0;       // the first group behind those in hand
  int before = 0;     // tiles of the groups before them
  int until = 0;      // tiles of theirs up to and with this lane's
  int decreased = 0;  // 1 once an offset has
  Group mine;
};

// Where blocks stay and each takes one tile per wave: `block` of so many, every wave's tiles being the next ones of the
// sequence. The sequence has patterns: of a group of two and a half row tiles every third tile is a short one, and the
// same third of 132 blocks would get all of those. So the blocks shift from wave to wave, by as many as make
// their number one that 2, 3, 5 and 7 do not divide: then a pattern that repeats within ten tiles falls on all alike.
EXPERTILE_DEVICE int shift_of_wave(int blocks) {
  int shift = 0;
  while ((blocks + shift) % 2 == 0 || (blocks + shift) % 3 == 0 || (blocks + shift) % 5 == 0 ||
         (blocks + shift) % 7 == 0) {
    ++shift;
  }
  return shift;
}
EXPERTILE_DEVICE int tile_of_wave(int block, int blocks, int wave) {
  return wave == 0 ? block : wave * blocks + (block + wave * shift_of_wave(blocks)) % blocks;
}

// The tiles that a cluster works on at a time lie side by side: to the sequence of tiles they are one.
constexpr TileConfig cluster_tile(TileConfig tile) {
  tile.block_size_n = cluster_tile_n(tile);
  tile.block_size_m = cluster_tile_m(tile);
  return tile;
}

// The tile with number `wanted` in the sequence of all groups' tiles. Collective of a warp: in the portable family
// every warp finds it for itself, so that nobody waits for a barrier; on Hopper one does for all (sm90/tile_queue.hpp).
template <TileConfig TILE, Rows ROWS = Rows::offsets>
EXPERTILE_DEVICE OutputTile find_tile(const KernelArgs& args, GroupCursor& cursor, int wanted) {
  const int lane = ptx::thread_index() % 32;
  int total = ptx::shuffle(cursor.until, 31);  // tiles of the groups in hand
  while (wanted >= cursor.before + total) {
    if (cursor.next >= args.groups) return {};
    cursor.before += total;
    bool decreases = false;
    cursor.mine = load_group<ROWS>(args, cursor.next + lane, decreases);
    if constexpr (ROWS != Rows::masked) {  // whose groups have no rows in common
      if (ptx::count_lanes(decreases) > 0) cursor.decreased = 1;
      if (cursor.decreased != 0) cut_common_rows<ROWS>(args, cursor.mine, cursor.next, lane);
    }
    if constexpr (has_large_tiles(TILE)) put_heaviest_first(cursor.mine, lane);
    cursor.next += 32;
    cursor.until = tiles_of_group<TILE>(cursor.mine.rows, args.n);
    for (int distance = 1; distance < 32; distance *= 2) {
      const int below = ptx::shuffle_up(cursor.until, distance);
      if (lane >= distance) cursor.until += below;
    }
    total = ptx::shuffle(cursor.until, 31);
  }
  int local = wanted - cursor.before;
  if constexpr (has_large_tiles(TILE)) local = from_both_ends(cursor.mine, local, total);
  const int found = ptx::count_lanes(cursor.until <= local);  // groups that end before the wanted tile
  Group group;
  group.begin = ptx::shuffle(cursor.mine.begin, found);
  group.rows = ptx::shuffle(cursor.mine.rows, found);
  group.expert = ptx::shuffle(cursor.mine.expert, found);
  const int earlier = ptx::shuffle(cursor.until, found > 0 ? found - 1 : 0);
  return tile_of_group<TILE>(args, group, found > 0 ? local - earlier : local);
}

// How many tiles there are in all, once find_tile has found that there are no more. Collective of a warp.
EXPERTILE_DEVICE int count_tiles(const GroupCursor& cursor) { return cursor.before + ptx::shuffle(cursor.until, 31); }

}  // namespace expertile
