#pragma once
// The one map of a block's shared memory in the portable family, read by host and device: stages of A and B while K is
// multiplied, and after that, in the same bytes, what the epilogue hands from thread to thread.
//
//   while K is multiplied                      after it
//   -----------------------------------------  --------------------------------------------------------------
//   stages: A, B [num_stages]                  partial sums of the other splits of K [split_k - 1, tile]
//                                              staged rows of C, in float32

#include "tile_shape.hpp"

namespace expertile::sm80 {

// Offsets and sizes in bytes.
struct SharedLayout {
  int stage_bytes = 0;
  int b = 0;  // in a stage, behind A
  int partial_sums = 0;
  int staged_rows = 0;  // where they begin
  int staged_row_bytes = 0;
  int staged_row_count = 0;
  int total = 0;
};

constexpr SharedLayout shared_layout(const KernelSpec& spec) {
  const TileConfig& tile = spec.tile;
  SharedLayout at;
  at.b = stage_bytes_a(spec);
  at.stage_bytes = at.b + stage_bytes_b(spec);
  at.staged_rows = (tile.split_k - 1) * tile.block_size_m * tile.block_size_n * 4;
  at.staged_row_bytes = tile.block_size_n * 4 + 16;  // rows begin at different banks
  // 16 of every warp along X at a time, or all where the tokens take the 8-column side.
  at.staged_row_count = tile.swap_ab != 0 ? tile.block_size_m : 16 * warp_grid(tile).x;
  const int stages = tile.num_stages * at.stage_bytes;
  const int epilogue = at.staged_rows + at.staged_row_count * at.staged_row_bytes;
  at.total = stages > epilogue ? stages : epilogue;
  return at;
}

// Worked out once per kernel.
template <KernelSpec SPEC>
inline constexpr SharedLayout kLayout = shared_layout(SPEC);

}  // namespace expertile::sm80
