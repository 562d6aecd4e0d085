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

constexpr double kFar = 6.5;                    // deviations from the mean: chances are 1 or 0 there, to 1e-10
constexpr double kSeldom = 3.0902323061678135;  // deviations above the mean: more rows have a chance of 1e-3
constexpr double kInverseRootOf2Pi = 0.3989422804014327;

// A normal deviate is greater than z.
double upper_tail(double z) { return 0.5 * std::erfc(z * std::sqrt(0.5)); }

// The sum of upper_tail(z) over z = from, from + step, .., to by Euler and Maclaurin: to 1e-10 for steps up to 0.2.
double sum_of_tails(double from, double to, double step) {
  const auto density = [](double z) { return kInverseRootOf2Pi * std::exp(-0.5 * z * z); };
  // What one end adds: the integral, and corrections by the first, third and fifth derivatives.
  const auto end = [&](double z) {
    const double slope = -density(z);
    const double z2 = z * z;
    return (z * upper_tail(z) - density(z)) / step + step / 12 * slope - std::pow(step, 3) / 720 * slope * (z2 - 1) +
           std::pow(step, 5) / 30240 * slope * (z2 * z2 - 6 * z2 + 3);
  };
  return end(to) - end(from) + 0.5 * (upper_tail(from) + upper_tail(to));
}

}  // namespace

// By the normal distribution: of all groups' rows one falls into this one with a chance of 1 / groups.
double RowsOfAGroup::deviation() const { return std::sqrt(mean * (1.0 - 1.0 / std::max(groups, 1.0))); }

double RowsOfAGroup::chance_of_more(double than) const {
  if (deviation() <= 0) return mean > than ? 1 : 0;
  return upper_tail((than + 0.5 - mean) / deviation());
}

ChanceSum sum_of_chances(const RowsOfAGroup& rows, double first, double step, double count) {
  const double spread = rows.deviation();
  const double middle = spread > 0 ? rows.mean - 0.5 : rows.mean;
  const auto below = [&](double limit) { return std::clamp(std::ceil((limit - first) / step), 0.0, count); };
  const double sure = below(middle - kFar * spread);
  const double possible = below(middle + kFar * spread);
  if (possible - sure > kMostTerms) {
    const auto deviate = [&](double place) { return (first + place * step - middle) / spread; };
    return {sure + sum_of_tails(deviate(sure), deviate(possible - 1), step / spread), 0};
  }
  ChanceSum sum{sure, 0};
  for (double place = sure; place < possible; ++place, ++sum.terms) {
    sum.value += rows.chance_of_more(first + place * step);
  }
  return sum;
}

// The sum over j of the chance that there are more than j parts' rows, to where that is seldom.
double expected_parts(const RowsOfAGroup& rows, int part) {
  const double last = std::floor((rows.mean - 0.5 + kSeldom * rows.deviation()) / part);
  return 1 + sum_of_chances(rows, part, part, std::max(0.0, last)).value;
}

RowsOfAGroup rows_of_a_group(std::int64_t rows, double active_groups) {
  const double groups = std::max(active_groups, 1.0);
  return {std::max(1.0, static_cast<double>(rows) / groups), groups};
}

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
