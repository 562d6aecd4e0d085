#pragma once
// The one map of an sm90 block's shared memory, read by host and device. From the begin on:
//
//   what              holds                                              filled by          read by
//   ----------------  -------------------------------------------------  -----------------  -------------------------
//   stages            per stage: panels of A, residuals, panels of B     producer, (*)      consumers
//   stage barriers    per stage: full, empty, and residuals'             -                  -
//   ordered barriers  one per warpgroup of a ping-pong pair              -                  -
//   tile queue        per slot: a tile, full, empty                      producer           consumers, scale producers
//   cluster tile      the cluster's next tile number, full, empty        first block        other blocks' producers
//   scales            per stage and span: tokens', then weights'         scale producers    consumers
//   partial sums      full, empty; sums of this block's columns          other blocks       consumers
//   store tiles       C of 16 bits on its way out                        consumers          copy engine
//
// (*) residuals: the residual warps. What a kernel does not use has no bytes. Stages and store tiles begin at multiples
// of 1024, as swizzled boxes must.

#include "sm90/shape.hpp"

namespace expertile::sm90 {

inline constexpr int kBarrierBytes = 8;
inline constexpr int kQueueSlots = 4;                // tiles that the producer may be ahead
inline constexpr int kTileBytes = 32;                // of an OutputTile in the queue
inline constexpr int kMostSharedBytes = 227 * 1024;  // of an sm_90 block

// Offsets and sizes in bytes. Within a part, offsets are from its begin.
struct SharedLayout {
  // stages [num_stages]
  int stage_bytes = 0;
  int residuals = 0;  // in a stage, behind the panels of A
  int b = 0;          // in a stage
  // barriers of stages [num_stages]
  int stage_barriers = 0;
  int stage_barrier_bytes = 0;  // full, empty, residuals' full
  int ordered_barriers = 0;     // [2]
  // tile queue [kQueueSlots]
  int tile_queue = 0;
  int queue_slot_bytes = 0;
  int cluster_tile = 0;
  int cluster_tile_bytes = 0;
  // scales [num_stages, spans of a stage]
  int scales = 0;
  int stage_scale_bytes = 0;
  int span_scale_bytes = 0;
  int partial_sums = 0;
  int partial_sum_bytes = 0;
  // store tiles [owners, store_tiles_each]
  int store_tiles = 0;
  int store_tile_bytes = 0;
  int store_tiles_each = 0;
  int total = 0;
};

// ---- store tiles --------------------------------------------------------------------------------------------------

// 128 bytes of each of so many rows of C: 16 where the tokens are the tensor core's rows, and a warp owns one; else
// those of 64 tokens at most, and a warpgroup does.
constexpr int store_tile_rows(const KernelSpec& spec) {
  const int m = spec.tile.block_size_m;
  return spec.tile.swap_ab == 0 ? 16 : m < 64 ? m : 64;
}
constexpr int store_tile_owners(const KernelSpec& spec) {
  return spec.tile.swap_ab == 0 ? spec.tile.num_warps : warpgroups(spec.tile);
}
// Store tiles of each owner: one; but where no second block finds room beside this one, as many as there is room for,
// up to all that an owner fills of a tile. (Of blocks that split K each fills some only: one, or they could not be
// counted.) before: bytes of shared memory in front of them.
constexpr int store_tiles_each(const KernelSpec& spec, int before) {
  const int one = store_tile_owners(spec) * store_tile_rows(spec) * kSwizzleBytes;
  if (k_splits(spec.tile) > 1 || 2 * (before + one) <= kMostSharedBytes) return 1;
  const int all = blocks_x(spec.tile) * ceil_divide(tile_y(spec.tile), 64);  // of so many columns, or tokens
  const int fit = (kMostSharedBytes - before) / one;
  return fit < 1 ? 1 : fit < all ? fit : all;
}

// ---- the map ------------------------------------------------------------------------------------------------------

constexpr int rounded_up(int bytes, int unit) { return ceil_divide(bytes, unit) * unit; }

constexpr SharedLayout shared_layout(const KernelSpec& spec) {
  const TileConfig& tile = spec.tile;
  SharedLayout at;
  const bool residuals = keeps_residuals(spec);
  at.residuals = stage_bytes_a(spec);
  at.b = at.residuals + (residuals ? stage_bytes_a(spec) : 0);
  at.stage_bytes = at.b + stage_bytes_b(spec);

  at.stage_barriers = tile.num_stages * at.stage_bytes;
  at.stage_barrier_bytes = (residuals ? 3 : 2) * kBarrierBytes;
  at.ordered_barriers = at.stage_barriers + tile.num_stages * at.stage_barrier_bytes;

  at.tile_queue = rounded_up(at.ordered_barriers + 2 * kBarrierBytes, 16);
  at.queue_slot_bytes = kTileBytes + 2 * kBarrierBytes;
  at.cluster_tile = at.tile_queue + kQueueSlots * at.queue_slot_bytes;
  at.cluster_tile_bytes = counts_tiles(tile) && cluster_blocks(tile) > 1 ? 16 + 2 * kBarrierBytes : 0;

  at.scales = at.cluster_tile + at.cluster_tile_bytes;
  const int scales = has_scale_producers(spec) ? token_scales(spec) + weight_scales(spec) : 0;
  at.span_scale_bytes = ceil_divide(scales, 4) * 16;
  at.stage_scale_bytes = tile.block_size_k / span_elements(spec) * at.span_scale_bytes;

  at.partial_sums = rounded_up(at.scales + tile.num_stages * at.stage_scale_bytes, 16);
  const int others = k_splits(tile) - 1;  // 16 bytes per lane, column and block of 64 rows
  const int sums = others * columns_per_split(tile) * blocks_x(tile) * 32 * tile.num_warps * 16;
  at.partial_sum_bytes = others > 0 ? 2 * kBarrierBytes + sums : 0;

  at.store_tiles = rounded_up(at.partial_sums + at.partial_sum_bytes, 1024);
  at.store_tile_bytes = store_tile_rows(spec) * kSwizzleBytes;
  at.store_tiles_each = store_tiles_each(spec, at.store_tiles);
  at.total = at.store_tiles + store_tile_owners(spec) * at.store_tiles_each * at.store_tile_bytes;
  return at;
}

// Worked out once per kernel.
template <KernelSpec SPEC>
inline constexpr SharedLayout kLayout = shared_layout(SPEC);

// Warps that read each tile of the queue.
constexpr int queue_readers(const KernelSpec& spec) {
  return consumer_warps(spec.tile) + scale_warps(spec) + (keeps_residuals(spec) ? kResidualWarps : 0);
}

}  // namespace expertile::sm90
