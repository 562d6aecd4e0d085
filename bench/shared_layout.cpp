// The map of shared memory of one tile as JSON, from the function that host and kernels call: what
// docs/make_pictures.py draws.

#include <fmt/format.h>

#include "kernel_shape.hpp"

int main() {
  using namespace expertile;
  // The tile that docs/kernel-tour.md follows: bfloat16, prefill.
  constexpr KernelSpec kSpec{.tile = {.block_size_m = 128,
                                      .block_size_n = 128,
                                      .block_size_k = 64,
                                      .group_size_m = 8,
                                      .num_warps = 8,
                                      .num_stages = 5,
                                      .kernel = KernelFamily::sm90,
                                      .pingpong = 1,
                                      .cluster_size = 2},
                             .a = Storage::bfloat16,
                             .b = Storage::bfloat16,
                             .c = Storage::bfloat16,
                             .product = Product::bfloat16};
  constexpr sm90::SharedLayout kAt = sm90::shared_layout(kSpec);
  fmt::print(
      "{{\"block_size_m\": {}, \"block_size_n\": {}, \"block_size_k\": {}, \"num_stages\": {}, \"num_warps\": {},\n",
      kSpec.tile.block_size_m, kSpec.tile.block_size_n, kSpec.tile.block_size_k, kSpec.tile.num_stages,
      kSpec.tile.num_warps);
  fmt::print(" \"threads\": {}, \"producer_registers\": {}, \"consumer_registers\": {}, \"box_rows_a\": {},\n",
             threads_of(kSpec), producer_registers(kSpec), consumer_registers(kSpec), box_rows_a(kSpec));
  fmt::print(" \"stage_bytes\": {}, \"b\": {}, \"stage_barriers\": {}, \"stage_barrier_bytes\": {},\n", kAt.stage_bytes,
             kAt.b, kAt.stage_barriers, kAt.stage_barrier_bytes);
  fmt::print(" \"ordered_barriers\": {}, \"tile_queue\": {}, \"queue_slots\": {}, \"queue_slot_bytes\": {},\n",
             kAt.ordered_barriers, kAt.tile_queue, sm90::kQueueSlots, kAt.queue_slot_bytes);
  fmt::print(" \"cluster_tile\": {}, \"cluster_tile_bytes\": {}, \"store_tiles\": {}, \"store_tile_bytes\": {},\n",
             kAt.cluster_tile, kAt.cluster_tile_bytes, kAt.store_tiles, kAt.store_tile_bytes);
  fmt::print(" \"store_tile_owners\": {}, \"store_tiles_each\": {}, \"total\": {}, \"most\": {}}}\n",
             sm90::store_tile_owners(kSpec), kAt.store_tiles_each, kAt.total, sm90::kMostSharedBytes);
}
