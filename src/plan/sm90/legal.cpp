// Which tiles of Hopper's family can run at all.

#include <fmt/format.h>

#include <algorithm>

#include "kernel_shape.hpp"
#include "plan/kernel_plan.hpp"
#include "plan/sm90/family.hpp"

namespace expertile::sm90 {
namespace {

constexpr int kMostHeld = 208;          // registers a thread for sums, scales and weights; with more, ptxas spills
constexpr int kMostHeldSplit = 192;     // likewise where float32 is split; with more, ptxas serialises the products
constexpr int kMostHeldInTurns = 184;   // likewise of pingpong with scales of tokens and columns
constexpr int kMostHeldByTwelve = 132;  // of 12 warps, which have 152 registers a thread

Status check_numbers(const TileConfig& tile) {
  if (auto status = gpu::check_fields(tile); !status) return status;
  if (tile.pingpong != 0 && tile.num_warps != 8) return gpu::refused(tile, "PINGPONG=1 takes 8 warps, two warpgroups");
  if (tile.cluster_m > 1 && (tile.cluster_size > 1 || tile.split_k > 1 || tile.swap_ab != 0)) {
    return gpu::refused(tile, "CLUSTER_M=2 takes CLUSTER_SIZE=1, SPLIT_K=1 and SWAP_AB=0");
  }
  if (tile.split_k > 1 && tile.cluster_size > 1) {
    return gpu::refused(tile, "CLUSTER_SIZE must be 1 with SPLIT_K: the blocks of a cluster have one tile then");
  }
  if (tile.split_k > 1 && tile.pingpong != 0) {
    return gpu::refused(tile, "PINGPONG must be 0 with SPLIT_K: the blocks of a cluster hand over one tile at a time");
  }
  return {};
}

Status check_shape(const KernelSpec& spec) {
  const TileConfig& tile = spec.tile;
  if (weights_in_registers(spec.product) && tile.swap_ab == 0) {
    return gpu::refused(tile, fmt::format("SWAP_AB must be 1: {} in the registers of the tensor core's rows",
                                          widens_weights(spec.product) ? "int8 weights are widened"
                                                                       : "float32 weights are split into parts"));
  }
  const int x = tile_x(tile);
  const int y = tile_y(tile);
  if (x < 64 || x > 256 || x % (64 * warpgroups_per_tile(tile)) != 0) {
    return gpu::refused(
        tile, fmt::format("{} must be a multiple of {} up to 256", tile.swap_ab != 0 ? "BLOCK_SIZE_N" : "BLOCK_SIZE_M",
                          64 * warpgroups_per_tile(tile)));
  }
  const int unit = tile.swap_ab == 0 ? 32 : spec.product == Product::int8 && y > 32 ? 16 : 8;
  if (y < unit || y > 256 || y % unit != 0) {
    return gpu::refused(tile, fmt::format("{} must be a multiple of {} up to 256",
                                          tile.swap_ab != 0 ? "BLOCK_SIZE_M" : "BLOCK_SIZE_N", unit));
  }
  if (tile.block_size_m % (8 * tile.cluster_size) != 0) {  // the period of the swizzle is 8 rows
    return gpu::refused(tile, fmt::format("BLOCK_SIZE_M must be a multiple of {}, 8 for each block of the cluster",
                                          8 * tile.cluster_size));
  }
  // 12 warps have 128 registers a thread at the launch, and the compiler takes no product that needs more.
  const int widest = weights_in_registers(spec.product) ? 64 : 192;
  if (tile.num_warps == 12 && y > widest) {
    return gpu::refused(tile,
                        fmt::format("{} must be at most {} with num_warps=12, for which there are fewer registers",
                                    tile.swap_ab != 0 ? "BLOCK_SIZE_M" : "BLOCK_SIZE_N", widest));
  }
  const int span = span_elements(spec);
  const int longest = 4 * std::min(panel_elements(spec.a), panel_elements(spec.b));
  if (tile.block_size_k < span || tile.block_size_k > longest || tile.block_size_k % span != 0) {
    return gpu::refused(tile, fmt::format("BLOCK_SIZE_K must be a multiple of {} elements up to {}", span, longest));
  }
  if (has_subtiles(spec) && tile.swap_ab == 0 && spec.scaling == Scaling::block) {
    return gpu::refused(tile, "SWAP_AB must be 1: with the tokens on the rows, their scales leave too few registers");
  }
  if (has_subtiles(spec) && tile.swap_ab == 0 && y % kSubtileColumns != 0) {
    return gpu::refused(
        tile,
        fmt::format("BLOCK_SIZE_N must be a multiple of {} where a tile is multiplied in sub-tiles", kSubtileColumns));
  }
  return {};
}

}  // namespace

bool supports(const Problem& problem, const DeviceInfo& device) {
  if (!device.is_gpu() || device.gpu().compute_capability != 90) return false;
  const KernelSpec spec = gpu::spec_of(problem, {});
  if (!allows_wide_loads(problem, activation_type(problem.dtype))) return false;
  // Boxes of both operands lie in one block of scales, and so do 64 rows of weights.
  return spec.scaling != Scaling::block || (spec.block_k % span_elements(spec) == 0 && spec.block_n % 64 == 0);
}

Status check_tile(const Problem& problem, const TileConfig& tile, const DeviceInfo& device) {
  if (!supports(problem, device)) {
    return gpu::refused(tile, fmt::format("kernel=sm90 does not run {} with these scales and K={} on {}",
                                          name(problem.dtype), problem.k, device.name));
  }
  if (auto status = check_numbers(tile); !status) return status;
  const KernelSpec spec = gpu::spec_of(problem, tile);
  if (auto status = check_shape(spec); !status) return status;
  if (auto status = gpu::check_shared_memory(spec, device); !status) return status;
  const bool scales_turns = tile.pingpong != 0 && spec.scaling == Scaling::per_token_channel;
  const int most = tile.num_warps == 12    ? kMostHeldByTwelve
                   : keeps_residuals(spec) ? kMostHeldSplit
                   : scales_turns          ? kMostHeldInTurns
                                           : kMostHeld;
  if (sm90_registers(spec) > most) {
    return gpu::refused(tile, fmt::format("needs {} registers a thread for sums, scales and weights, {} are allowed",
                                          sm90_registers(spec), most));
  }
  return {};
}

}  // namespace expertile::sm90
