#pragma once
// C of 16 bits on its way out, through slabs of shared memory that hold 128 bytes of each of some rows of C, permuted
// as bulk copies are. The copy engine stores whole boxes of a slab while those that have filled it go on. Rows at a
// group's end that fill no box, and C whose rows bulk copies cannot reach, are written by the threads themselves: no
// box ever has a row of the next group.
//
// A slab belongs to those that fill it: a warp where the tokens are the tensor core's rows, else a warpgroup. So no
// barrier of more than those is needed, and one warpgroup writes while others multiply. Where shared memory allows it
// they have several, and need not wait until one has been read.

#include "sm90/mainloop.hpp"

namespace expertile::sm90 {

// A place in C, and how many elements of its row there are to write from it on: none where the row is not the group's.
struct Spot {
  unsigned char* to = nullptr;
  int left = 0;
  int left_wide = 0;  // likewise, by wide stores
};
// row, column: of the tile.
template <Storage C>
EXPERTILE_DEVICE Spot spot_at(const KernelArgs& args, const OutputTile& tile, int row, int column) {
  Spot spot;
  spot.to = static_cast<unsigned char*>(args.c) + ((tile.row + row) * args.c_pitch + tile.column + column) * size_of(C);
  spot.left = row < tile.rows ? args.n - tile.column - column : 0;
  spot.left_wide = args.wide_stores != 0 ? spot.left : 0;
  return spot;
}

// Number of a thread among those that fill a slab together, who are kFillers; and the one of them that hands boxes to
// the copy engine. Collective of a warp.
template <KernelSpec SPEC>
inline constexpr int kFillers = SPEC.tile.swap_ab != 0 ? 128 : 32;
template <KernelSpec SPEC>
EXPERTILE_DEVICE int filler_of(const WarpPlace& warp) {
  return Shape<SPEC>::kSwapped ? warp.lane + 2 * (warp.x - warp.group) : warp.lane;
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE bool stores_for_all(const WarpPlace& warp) {
  if constexpr (Shape<SPEC>::kSwapped) return warp.lane == 0 && warp.x == warp.group;
  return ptx::elect().is_this;  // always the same lane
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE void meet_fillers(const WarpPlace& warp) {
  if constexpr (Shape<SPEC>::kSwapped) {
    ptx::named_barrier(1 + warp.owner, kFillers<SPEC>);
  } else {
    ptx::warp_barrier();
  }
}

// Collective of those that fill it. The slab for the use-th part of a tile, counted from 0: whoever read it before is
// done with it. The first part waits for all of the tile before, which has long been read.
template <KernelSpec SPEC>
EXPERTILE_DEVICE unsigned take_slab(const WarpPlace& warp, int use) {
  constexpr int kCount = slabs_each(SPEC);
  if (use == 0 || use >= kCount) {
    if (stores_for_all<SPEC>(warp)) {
      if (use == 0) {
        ptx::wait_for_boxes<0>();
      } else {
        ptx::wait_for_boxes<kCount - 1>();
      }
    }
    meet_fillers<SPEC>(warp);
  }
  return static_cast<unsigned>(slabs_offset(SPEC) + (warp.owner * kCount + use % kCount) * slab_bytes(SPEC));
}

// Where a chunk of 16 bytes of a slab's row lies.
EXPERTILE_DEVICE unsigned chunk_place(unsigned slab, int row, int chunk) {
  return slab + static_cast<unsigned>(kBoxBytes * row + 16 * (chunk ^ (row % 8)));
}

// What of a tile lies in a slab: so many rows, which the tile need not all have, and 8 * chunks columns.
struct Part {
  unsigned slab = 0;
  int row = 0;
  int column = 0;
  int rows = 0;
  int chunks = 0;
};

// By one thread: a chunk of C from the slab.
template <Storage C>
EXPERTILE_DEVICE void write_chunk(const KernelArgs& args, const OutputTile& tile, unsigned from, int row, int column) {
  const Spot spot = spot_at<C>(args, tile, row, column);
  if (spot.left_wide >= 8) {
    ptx::store_global(reinterpret_cast<ptx::Bytes16*>(spot.to), ptx::load_shared<ptx::Bytes16>(from));
    return;
  }
#pragma unroll 1
  for (int e = 0; e < 8 && e < spot.left; ++e) {
    ptx::store_global(reinterpret_cast<unsigned short*>(spot.to) + e,
                      static_cast<unsigned short>(ptx::load_pair<0>(from + static_cast<unsigned>(2 * e))));
  }
}

// Rows of a part that the tile has.
EXPERTILE_DEVICE int rows_of(const OutputTile& tile, const Part& part) {
  const int left = tile.rows - part.row;
  return part.rows < left ? part.rows : left;
}

// Whether whole boxes of a part are stored by bulk copies.
EXPERTILE_DEVICE bool is_in_boxes(const KernelArgs& args, const Part& part) {
  return args.stores_boxes != 0 && part.chunks == 8;
}

// By one thread: whole boxes of a part, from its slab.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void store_boxes(const TiledArgs& in, const OutputTile& tile, const Part& part) {
  const int rows = rows_of(tile, part);
#pragma unroll
  for (int row = 0; row + kBoxRowsC <= slab_rows(SPEC); row += kBoxRowsC) {
    if (row + kBoxRowsC > rows) return;
    ptx::store_box(part.slab + static_cast<unsigned>(kBoxBytes * row), in.c, tile.column + part.column,
                   static_cast<int>(tile.row) + part.row + row);
  }
}

// Collective of those that have filled it: what fills no box.
template <KernelSpec SPEC, Storage C>
EXPERTILE_DEVICE void write_rest(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                 const Part& part) {
  const int filler = filler_of<SPEC>(warp);
  const int rows = rows_of(tile, part);
  const int boxed = is_in_boxes(args, part) && rows > 0 ? rows / kBoxRowsC * kBoxRowsC : 0;  // rows
  if (boxed >= rows) return;
#pragma unroll
  for (int i = 0; i < ceil_divide(8 * slab_rows(SPEC), kFillers<SPEC>); ++i) {
    const int row = (filler + i * kFillers<SPEC>) / 8;
    const int chunk = filler % 8;
    if (row < boxed || row >= rows || chunk >= part.chunks) continue;
    write_chunk<C>(args, tile, chunk_place(part.slab, row, chunk), part.row + row, part.column + 8 * chunk);
  }
}

// Collective of those that have filled COUNT slabs: C gets what lies in them. Every part of a tile that took a slab is
// written, so that what is under way can be counted.
template <KernelSpec SPEC, Storage C, int COUNT>
EXPERTILE_DEVICE void write_slabs(const TiledArgs& in, const OutputTile& tile, const WarpPlace& warp,
                                  const Part (&part)[COUNT]) {
  ptx::fence_stores();
  meet_fillers<SPEC>(warp);  // they are filled
  bool has_rest = tile.rows % kBoxRowsC != 0;
#pragma unroll
  for (int i = 0; i < COUNT; ++i) has_rest = has_rest || !is_in_boxes(in.args, part[i]);
  if (stores_for_all<SPEC>(warp)) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      if (is_in_boxes(in.args, part[i])) store_boxes<SPEC>(in, tile, part[i]);
    }
    ptx::commit_boxes();
  }
  if (!has_rest) return;
#pragma unroll
  for (int i = 0; i < COUNT; ++i) write_rest<SPEC, C>(in.args, tile, warp, part[i]);
}

// By everyone who has filled slabs, at the end: until all of them have been read.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void finish_slabs(const WarpPlace& warp) {
  if (stores_for_all<SPEC>(warp)) ptx::wait_for_boxes<0>();
}

}  // namespace expertile::sm90
