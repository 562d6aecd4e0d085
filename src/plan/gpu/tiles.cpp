#include "plan/gpu/tiles.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "kernel_shape.hpp"
#include "plan/kernel_plan.hpp"
#include "plan/tile_schema.hpp"

namespace expertile::gpu {
namespace {

constexpr double kNearlyEqual = 0.98;  // differences that estimates do not know about

}  // namespace

TileConfig make_tile(KernelFamily family, int m, int n, int k, int warps, int swap_ab, int group) {
  TileConfig tile;
  tile.block_size_m = m;
  tile.block_size_n = n;
  tile.block_size_k = k;
  tile.group_size_m = group;
  tile.num_warps = warps;
  tile.swap_ab = swap_ab;
  tile.kernel = family;
  return tile;
}

KernelSpec spec_of(const Problem& problem, const TileConfig& tile) {
  return make_spec(problem, tile, usual_types(problem), true);
}

Status refused(const TileConfig& tile, const std::string& why) {
  return fail(ErrorCode::unsupported, fmt::format("{}: {}", describe(tile), why));
}

Status check_fields(const TileConfig& tile) {
  const std::string wrong = wrong_field(tile);
  return wrong.empty() ? Status() : refused(tile, wrong);
}

Status check_shared_memory(const KernelSpec& spec, const DeviceInfo& device) {
  if (smem_bytes(spec) <= device.gpu().shared_bytes_per_block) return {};
  return refused(spec.tile, fmt::format("needs {} KiB of shared memory, {} has {} KiB", (smem_bytes(spec) + 1023) >> 10,
                                        device.name, device.gpu().shared_bytes_per_block >> 10));
}

Refusal refuse_rows(const TileConfig& tile, double rows_a_group, int smallest) {
  if (tile.block_size_m <= smallest || tile.block_size_m <= 4 * rows_a_group) return {};
  return {tile, "more rows than a group has",
          fmt::format("BLOCK_SIZE_M={} is more than four times the {:.1f} rows of a group", tile.block_size_m,
                      rows_a_group)};
}

Refusal refuse_short_band(const TileConfig& tile, double rows_a_group) {
  const int band = tile.group_size_m * tile.cluster_m;
  if (band >= kBand || tile.block_size_m < kOneRowTile * rows_a_group) return {};
  return {
      tile, "short bands for one row tile a group",
      fmt::format("GROUP_SIZE_M={} with BLOCK_SIZE_M={} for {:.1f} rows of a group: a band of {} is the same there, "
                  "and better where routing is more skewed",
                  tile.group_size_m, tile.block_size_m, rows_a_group, kBand)};
}

double groups_with_rows(const Problem& problem, std::int64_t rows) {
  return static_cast<double>(std::clamp<std::int64_t>(rows, 1, problem.experts));
}

TileConfig fastest(const std::vector<TileConfig>& tiles, Estimate* estimate, const Problem& problem, std::int64_t rows,
                   const DeviceInfo& device) {
  TileConfig best;
  double least = std::numeric_limits<double>::infinity();
  for (const TileConfig& tile : tiles) {
    const double seconds =
        estimate(problem, tile, std::max<std::int64_t>(rows, 1), groups_with_rows(problem, rows), device);
    if (seconds >= kNearlyEqual * least) continue;
    best = tile;
    least = seconds;
  }
  return best;
}

}  // namespace expertile::gpu
