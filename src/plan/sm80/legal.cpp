// Which tiles of the portable family can run at all.

#include <fmt/format.h>

#include <algorithm>

#include "kernel_shape.hpp"
#include "plan/sm80/family.hpp"

namespace expertile::sm80 {
namespace {

constexpr int kMostHeld = 200;  // registers a thread for sums and operands; 255 is all there are

Status check_shape(const KernelSpec& spec) {
  const TileConfig& tile = spec.tile;
  const WarpGrid warps = warp_grid(tile);
  if (warps.x == 0) {
    return gpu::refused(
        tile, fmt::format("{} warps, {} of them along K, do not divide the tile", tile.num_warps, tile.split_k));
  }
  const int blocks_y = tile_y(tile) / warps.y / 8;
  if (blocks_y != 1 && blocks_y % 2 != 0) return gpu::refused(tile, "a warp's 8-row blocks must be 1 or even");
  if (tile.block_size_k % (step_elements(spec.product) * tile.split_k) != 0) {
    return gpu::refused(tile, fmt::format("BLOCK_SIZE_K must be a multiple of {} elements for {} parts of K",
                                          step_elements(spec.product) * tile.split_k, tile.split_k));
  }
  const int row_bytes = tile.block_size_k * std::max(size_of(spec.a), size_of(spec.b));
  if (tile.block_size_k * std::min(size_of(spec.a), size_of(spec.b)) < 32 || row_bytes / 16 > threads_of(spec)) {
    return gpu::refused(tile, fmt::format("a row of a stage has {} bytes, it must have from 32 to {}", row_bytes,
                                          16 * threads_of(spec)));
  }
  return {};
}

// Registers a thread that hold sums, the operands of two steps, what becomes of operands that are converted, and the
// scales of a block.
int held_registers(const KernelSpec& spec) {
  const WarpGrid warps = warp_grid(spec.tile);
  const bool swapped = spec.tile.swap_ab != 0;
  const int x = tile_x(spec.tile) / warps.x / 16;
  const int y = tile_y(spec.tile) / warps.y / 8;
  const int words = fragment_words(spec.product, swapped ? spec.b : spec.a) * x +
                    fragment_words(spec.product, swapped ? spec.a : spec.b) * ((y + 1) / 2);
  const int converted = operand_fragments(spec.product) > 1 ? 8 * x : 0;
  const bool one_weight_scale = spec.block_n > 0 && spec.block_n % spec.tile.block_size_n == 0;
  const int tokens = swapped ? 2 * y : 2 * x;
  const int scales = spec.scaling == Scaling::block ? tokens + (one_weight_scale ? 1 : 2 * (x + y) - tokens) : 0;
  return accumulators(spec) + 2 * words + converted + scales;
}

}  // namespace

bool supports(const Problem& /*problem*/, const DeviceInfo& device) { return device.is_gpu(); }

Status check_tile(const Problem& problem, const TileConfig& tile, const DeviceInfo& device) {
  if (auto status = gpu::check_fields(tile); !status) return status;
  if (tile.split_k > tile.num_warps) {
    return gpu::refused(tile, fmt::format("SPLIT_K={} must be a power of two up to num_warps", tile.split_k));
  }
  const KernelSpec spec = gpu::spec_of(problem, tile);
  if (auto status = check_shape(spec); !status) return status;
  if (auto status = gpu::check_shared_memory(spec, device); !status) return status;
  if (held_registers(spec) > kMostHeld) {
    return gpu::refused(tile, fmt::format("needs {} registers a thread for sums and operands, {} are allowed",
                                          held_registers(spec), kMostHeld));
  }
  return {};
}

}  // namespace expertile::sm80
