#include "plan/gpu/model.hpp"

#include <algorithm>
#include <cmath>

#include "kernel_shape.hpp"
#include "plan/gpu/rows.hpp"
#include "problem/sizes.hpp"

namespace expertile::gpu {
namespace {

constexpr double kShareOfMemoryRate = 0.89;     // that copies reach: 0.90 measured on an H100, 0.86 on an H200
constexpr double kMemoryRateOfHopper = 4.9e12;  // bytes a second; where the device's is not known
constexpr double kBytesInFlight = 48 << 10;     // on their way to a multiprocessor, for its full share of memory
constexpr double kMostDrawn = 1.8;  // of that share, where others draw nothing: 64 of 132 fetch 0.87 of it all
constexpr double kShareOfMiddlingRows = 0.96;  // of memory: 128 bytes of a weight row a stage, measured beside 256
constexpr double kShareOfShortRows = 0.92;
constexpr std::int64_t kReservedShared = 1024;  // a block

}  // namespace

TileCounts count_tiles(const Problem& problem, const TileConfig& tile, std::int64_t rows, double active_groups) {
  TileCounts counts;
  counts.groups = std::max(active_groups, 1.0);
  const RowsOfAGroup of_group = rows_of_a_group(rows, active_groups);
  counts.row_tiles = expected_parts(of_group, tile.block_size_m);
  counts.cluster_rows =
      cluster_tile_m(tile) == tile.block_size_m ? counts.row_tiles : expected_parts(of_group, cluster_tile_m(tile));
  counts.column_tiles = std::ceil(static_cast<double>(problem.n) / tile.block_size_n);
  return counts;
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
  const std::int64_t known_rate = device.gpu().memory_bytes_per_second;
  const double rate = known_rate > 0 ? static_cast<double>(known_rate) : kMemoryRateOfHopper;
  const double memory = bytes / (kShareOfMemoryRate * rate * share);

  // Every row tile reads its group's weights, every column tile all of A: from the L2, where it is not memory. What a
  // cluster shares is read once.
  const double l2 = static_cast<double>(problem.k) *
                    (counts.groups * counts.cluster_rows * static_cast<double>(problem.n) * size_of(spec.b) +
                     static_cast<double>(rows) * counts.column_tiles / spec.tile.cluster_size * size_of(spec.a)) /
                    l2_bytes_per_second;
  return {memory, l2};
}

}  // namespace expertile::gpu
