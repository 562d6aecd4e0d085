#include "plan/gpu_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernel_figures.hpp"
#include "problem/sizes.hpp"

namespace expertile::gpu_model {
namespace {

constexpr double kShareOfMemoryRate = 0.89;     // that copies reach: 0.90 measured on an H100, 0.86 on an H200
constexpr double kMemoryRateOfHopper = 4.9e12;  // bytes a second; where the device's is not known
constexpr double kBytesInFlight = 48 << 10;     // on their way to a multiprocessor, for its full share of memory
constexpr double kMostDrawn = 1.8;  // of that share, where others draw nothing: 64 of 132 fetch 0.87 of it all
constexpr double kShareOfMiddlingRows = 0.96;  // of memory: 128 bytes of a weight row a stage, measured beside 256
constexpr double kShareOfShortRows = 0.92;
constexpr double kNearlyEqual = 0.98;           // differences that estimates do not know about
constexpr std::int64_t kReservedShared = 1024;  // a block

}  // namespace

// By the normal distribution: of all groups' rows one falls into this one with a chance of 1 / groups.
double chance_of_more(double than, double rows, double groups) {
  const double variance = rows * (1.0 - 1.0 / std::max(groups, 1.0));
  if (variance <= 0) return rows > than ? 1 : 0;
  return 0.5 * std::erfc((than + 0.5 - rows) / std::sqrt(2.0 * variance));
}

// The sum over j of the chance that there are more than j parts' rows.
double expected_parts(double rows, int part, double groups) {
  double tiles = 1;
  for (int j = 1; j < 1 << 20; ++j) {
    const double chance = chance_of_more(j * static_cast<double>(part), rows, groups);
    if (chance < 1e-3) break;
    tiles += chance;
  }
  return tiles;
}

TileCounts count_tiles(const Problem& problem, const TileConfig& tile, std::int64_t rows, double active_groups) {
  TileCounts counts;
  counts.groups = std::max(active_groups, 1.0);
  const double rows_a_group = std::max(1.0, static_cast<double>(rows) / counts.groups);
  counts.row_tiles = expected_parts(rows_a_group, tile.block_size_m, counts.groups);
  counts.cluster_rows = expected_parts(rows_a_group, cluster_tile_m(tile), counts.groups);
  counts.column_tiles = std::ceil(static_cast<double>(problem.n) / tile.block_size_n);
  return counts;
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

TileConfig fastest(const std::vector<TileConfig>& tiles, Estimate estimate, const Problem& problem, std::int64_t rows,
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

int resident_blocks(const KernelSpec& spec, int registers, const DeviceInfo& device) {
  const std::int64_t shared =
      (device.gpu().shared_bytes_per_block + kReservedShared) / (smem_bytes(spec) + kReservedShared);
  const std::int64_t by_registers =
      kRegistersOfAMultiprocessor / (std::min(255, registers) * static_cast<std::int64_t>(threads_of(spec)));
  const std::int64_t by_threads = kThreadsOfAMultiprocessor / threads_of(spec);
  return static_cast<int>(std::max<std::int64_t>(1, std::min({shared, by_registers, by_threads})));
}

Transfer transfer_seconds(const Problem& problem, const KernelSpec& spec, std::int64_t rows, const TileCounts& counts,
                          double bytes_in_flight, double l2_bytes_per_second, const DeviceInfo& device) {
  // Memory: at full speed only with enough bytes under way, in rows that fill the bursts.
  const int row_bytes = spec.tile.block_size_k * size_of(spec.b);
  const double busy = std::min(1.0, counts.blocks() / device.gpu().multiprocessors);
  const double drawn = std::min(1.0, busy * std::min(kMostDrawn, bytes_in_flight / kBytesInFlight));
  const double share = drawn * (row_bytes < 128 ? kShareOfShortRows : row_bytes < 256 ? kShareOfMiddlingRows : 1.0);
  // Each band reads the weights again, which the last cache does not hold by then.
  const double weights = static_cast<double>(problem.n) * static_cast<double>(problem.k) * size_of(spec.b);
  const bool is_kept = weights < 0.5 * static_cast<double>(device.gpu().l2_bytes);
  const int rows_of_clusters = static_cast<int>(std::lround(counts.cluster_rows));
  const int bands = ceil_divide(rows_of_clusters, rows_of_bands(spec.tile, rows_of_clusters));
  const double readings = is_kept ? 1.0 : bands;
  const double bytes =
      bytes_moved(problem, static_cast<double>(rows), counts.groups) + (readings - 1) * counts.groups * weights;
  const double rate = device.gpu().memory_bytes_per_second > 0
                          ? static_cast<double>(device.gpu().memory_bytes_per_second)
                          : kMemoryRateOfHopper;
  const double memory = bytes / (kShareOfMemoryRate * rate * share);

  // Every row tile reads its group's weights, every column tile all of A: from the L2, where it is not memory. What a
  // cluster shares is read once.
  const double l2 = static_cast<double>(problem.k) *
                    (counts.groups * counts.cluster_rows * static_cast<double>(problem.n) * size_of(spec.b) +
                     static_cast<double>(rows) * counts.column_tiles / spec.tile.cluster_size * size_of(spec.a)) /
                    l2_bytes_per_second;
  return {memory, l2};
}

}  // namespace expertile::gpu_model
