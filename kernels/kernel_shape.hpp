#pragma once
// What a launch of a kernel of either family needs, for host and device: shared memory, registers and threads.

#include "sm80/shared_layout.hpp"
#include "sm90/shared_layout.hpp"

namespace expertile {

// Dynamic shared memory of a block.
constexpr int smem_bytes(const KernelSpec& spec) {
  return spec.tile.kernel == KernelFamily::sm90 ? sm90::shared_layout(spec).total : sm80::shared_layout(spec).total;
}

// ---- registers ----------------------------------------------------------------------------------------------------

// Registers of a thread that hold sums.
constexpr int accumulators(const KernelSpec& spec) {
  const int elements = spec.tile.block_size_m * spec.tile.block_size_n;
  if (spec.tile.kernel == KernelFamily::sm90) {
    const int totals = elements / (128 * warpgroups_per_tile(spec.tile));
    if (!promotes(spec)) return totals;
    const MmaTile sums = subtile_of(spec, {blocks_x(spec.tile), tile_y(spec.tile)});
    return totals + sums.blocks * sums.columns / 2;
  }
  return elements * spec.tile.split_k / (32 * spec.tile.num_warps) * (spec.scaling == Scaling::block ? 2 : 1);
}

// sm90: with those of block scales, of a subtile's tokens and weights; and of weights that go through registers, with
// where they come from.
constexpr int sm90_registers(const KernelSpec& spec) {
  const int blocks = blocks_x(spec.tile);
  const int weights =
      weights_in_registers(spec.product) ? 8 * weight_terms(spec.product) * register_steps(spec) * blocks + 4 : 0;
  if (spec.scaling != Scaling::block) return accumulators(spec) + weights;
  const MmaTile sums = subtile_of(spec, {blocks, tile_y(spec.tile)});
  const int scales = spec.tile.swap_ab != 0 ? sums.blocks + 8 : 2 * sums.blocks + weight_scales(spec);
  return accumulators(spec) + weights + scales;
}

// ---- threads ------------------------------------------------------------------------------------------------------

// sm90: whether the registers of the producer's warpgroup go to two or three consumer warpgroups. 16384 registers
// belong to every fourth warp of a block: three of them have 168 per thread at the launch, and four have 128. Where
// weights go through registers, what is on the way to the products takes more beside.
constexpr bool moves_registers(const KernelSpec& spec) {
  const int groups = warpgroups(spec.tile);
  const int most = (groups == 2 ? 112 : 72) - (weights_in_registers(spec.product) ? 32 : 0);
  return spec.tile.kernel == KernelFamily::sm90 && groups > 1 && sm90_registers(spec) > most;
}
// What a thread has then, of the producer's warpgroup and of a consumer. Together no more than the block has at its
// launch: else one would wait for the other's for good.
constexpr bool needs_most_registers(const KernelSpec& spec) {
  return warpgroups(spec.tile) == 2 && !keeps_residuals(spec) && sm90_registers(spec) > 176;
}
constexpr int producer_registers(const KernelSpec& spec) { return needs_most_registers(spec) ? 40 : 56; }
constexpr int consumer_registers(const KernelSpec& spec) {
  return warpgroups(spec.tile) == 3 ? 152 : needs_most_registers(spec) ? 232 : 224;
}
constexpr bool registers_suffice(const KernelSpec& spec) {
  const int groups = warpgroups(spec.tile);
  const int at_launch = 65536 / (128 * (groups + 1)) / 8 * 8;
  return producer_registers(spec) + groups * consumer_registers(spec) <= (groups + 1) * at_launch;
}

// sm90: beside the consumers a producer warp, and those that bring scales or write residuals; a whole warpgroup where
// registers move.
constexpr int threads_of(const KernelSpec& spec) {
  const int producers = 1 + scale_warps(spec) + (keeps_residuals(spec) ? kResidualWarps : 0);
  const int more = spec.tile.kernel != KernelFamily::sm90 ? 0 : moves_registers(spec) ? 4 : producers;
  return 32 * (spec.tile.num_warps + more);
}

}  // namespace expertile
