#pragma once
// C of 16 bits on its way out, through store tiles in shared memory, which hold 128 bytes of each of some rows of C,
// swizzled as bulk copies are. The copy engine stores whole boxes of a store tile while its owner goes on. Rows at a
// group's end that fill no box, and C whose rows bulk copies cannot reach, are written by the threads themselves: no
// box ever has a row of the next group.
//
// A store tile's owner is the one that fills it: a warp where the tokens are the tensor core's rows, else a warpgroup.
// So no barrier of more than those is needed, and one warpgroup writes while others multiply. Where shared memory
// allows it an owner has several, and need not wait until one has been read.

#include "scaling.hpp"
#include "sm90/consumer.hpp"

namespace expertile::sm90 {

// An element of C, and how many of its row there are to write from it on: none where the row is not the group's.
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

// Threads of an owner, a thread's number among them, and the one of them that hands boxes to the copy engine.
// Collective of a warp.
template <KernelSpec SPEC>
inline constexpr int kOwnerThreads = SPEC.tile.swap_ab != 0 ? 128 : 32;
template <KernelSpec SPEC>
EXPERTILE_DEVICE int owner_thread(const Consumer& consumer) {
  return Shape<SPEC>::kSwapped ? consumer.lane + 2 * (consumer.x - consumer.warpgroup_x) : consumer.lane;
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE bool issues_stores(const Consumer& consumer) {
  if constexpr (Shape<SPEC>::kSwapped) return consumer.lane == 0 && consumer.x == consumer.warpgroup_x;
  return ptx::elect().is_this;  // always the same lane
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE void owner_barrier(const Consumer& consumer) {
  if constexpr (Shape<SPEC>::kSwapped) {
    ptx::named_barrier(1 + consumer.owner, kOwnerThreads<SPEC>);
  } else {
    ptx::warp_barrier();
  }
}

// Collective of the owner: the store tile for the use-th time of a tile of C, counted from 0; the copy engine is done
// with it. The first waits for all of the tile before, which has long been read.
template <KernelSpec SPEC>
EXPERTILE_DEVICE unsigned acquire_store_tile(const Consumer& consumer, int use) {
  constexpr SharedLayout kAt = kLayout<SPEC>;
  constexpr int kCount = kAt.store_tiles_each;
  if (use == 0 || use >= kCount) {
    if (issues_stores<SPEC>(consumer)) {
      if (use == 0) {
        ptx::wait_for_boxes<0>();
      } else {
        ptx::wait_for_boxes<kCount - 1>();
      }
    }
    owner_barrier<SPEC>(consumer);
  }
  return static_cast<unsigned>(kAt.store_tiles + (consumer.owner * kCount + use % kCount) * kAt.store_tile_bytes);
}

// Where a chunk of 16 bytes of a store tile's row lies.
EXPERTILE_DEVICE unsigned chunk_offset(unsigned store_tile, int row, int chunk) {
  return store_tile + static_cast<unsigned>(kSwizzleBytes * row + 16 * (chunk ^ (row % 8)));
}

// A store tile that is filled: where it lies, and what it holds of the tile of C: so many rows, which the tile need not
// all have, and 8 * chunks columns.
struct StoreTile {
  unsigned offset = 0;
  int row = 0;
  int column = 0;
  int rows = 0;
  int chunks = 0;
};

// By one thread: a chunk of C from a store tile.
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

// Rows of a store tile that the tile of C has.
EXPERTILE_DEVICE int rows_of(const OutputTile& tile, const StoreTile& from) {
  const int left = tile.rows - from.row;
  return from.rows < left ? from.rows : left;
}

// Whether whole boxes of a store tile are stored by bulk copies.
EXPERTILE_DEVICE bool goes_in_boxes(const KernelArgs& args, const StoreTile& from) {
  return args.stores_boxes != 0 && from.chunks == 8;
}

// By one thread: the whole boxes of a store tile.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void store_boxes(const TiledArgs& in, const OutputTile& tile, const StoreTile& from) {
  const int rows = rows_of(tile, from);
#pragma unroll
  for (int row = 0; row + kBoxRowsC <= store_tile_rows(SPEC); row += kBoxRowsC) {
    if (row + kBoxRowsC > rows) return;
    ptx::store_box(from.offset + static_cast<unsigned>(kSwizzleBytes * row), in.c, tile.column + from.column,
                   static_cast<int>(tile.row) + from.row + row);
  }
}

// Collective of its owner: what fills no box.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void write_rest(const KernelArgs& args, const OutputTile& tile, const Consumer& consumer,
                                 const StoreTile& from) {
  const int thread = owner_thread<SPEC>(consumer);
  const int rows = rows_of(tile, from);
  const int boxed = goes_in_boxes(args, from) && rows > 0 ? rows / kBoxRowsC * kBoxRowsC : 0;  // rows
  if (boxed >= rows) return;
#pragma unroll
  for (int i = 0; i < ceil_divide(8 * store_tile_rows(SPEC), kOwnerThreads<SPEC>); ++i) {
    const int row = (thread + i * kOwnerThreads<SPEC>) / 8;
    const int chunk = thread % 8;
    if (row < boxed || row >= rows || chunk >= from.chunks) continue;
    write_chunk<SPEC.c>(args, tile, chunk_offset(from.offset, row, chunk), from.row + row, from.column + 8 * chunk);
  }
}

// Collective of the owner, who has filled COUNT store tiles: C gets what lies in them. Every store tile that was
// acquired is stored, so that what is under way can be counted.
template <KernelSpec SPEC, int COUNT>
EXPERTILE_DEVICE void store(const TiledArgs& in, const OutputTile& tile, const Consumer& consumer,
                            const StoreTile (&filled)[COUNT]) {
  ptx::fence_stores();
  owner_barrier<SPEC>(consumer);  // they are filled
  bool has_rest = tile.rows % kBoxRowsC != 0;
#pragma unroll
  for (int i = 0; i < COUNT; ++i) has_rest = has_rest || !goes_in_boxes(in.args, filled[i]);
  if (issues_stores<SPEC>(consumer)) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
      if (goes_in_boxes(in.args, filled[i])) store_boxes<SPEC>(in, tile, filled[i]);
    }
    ptx::commit_boxes();
  }
  if (!has_rest) return;
#pragma unroll
  for (int i = 0; i < COUNT; ++i) write_rest<SPEC>(in.args, tile, consumer, filled[i]);
}

// By every owner, at the end: until the copy engine has read all store tiles.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void drain_stores(const Consumer& consumer) {
  if (issues_stores<SPEC>(consumer)) ptx::wait_for_boxes<0>();
}

}  // namespace expertile::sm90
