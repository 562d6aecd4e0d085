// How long a tile should take on a CPU.

#include <algorithm>
#include <cmath>

#include "plan/cpu/family.hpp"
#include "problem/sizes.hpp"

namespace expertile::cpu {
namespace {

// Rates of one thread, of the order of a server core; the ranking depends on their ratios only.
constexpr double kMultiplyAddsPerSecond = 45e9;
constexpr double kPackedElementsPerSecond = 6e9;
constexpr double kWeightBytesPerSecond = 20e9;
constexpr double kPanelSeconds = 8e-9;   // one output's sum at the end of a panel
constexpr double kTileSeconds = 0.5e-6;  // finding a tile, writing it out

}  // namespace

double estimate_seconds(const Problem& problem, const TileConfig& tile, std::int64_t rows, double active_groups,
                        const DeviceInfo& device) {
  const double groups = std::max(active_groups, 1.0);
  const double rows_a_group = std::max(1.0, static_cast<double>(rows) / groups);
  const double n = static_cast<double>(problem.n);
  const double k = static_cast<double>(problem.k);
  const double row_tiles = std::ceil(rows_a_group / tile.block_size_m);
  const double column_tiles = std::ceil(n / tile.block_size_n);
  const double panels = std::ceil(k / tile.block_size_k);
  const ElementType weights = weight_type(problem);

  // A block of 4 rows keeps the units busy; a lone row loads as much as it multiplies.
  const double rows_a_tile = std::min<double>(tile.block_size_m, rows_a_group);
  const double block_efficiency = std::min(1.0, 0.4 + 0.15 * rows_a_tile);
  const double multiply = rows_a_group * n * k / (kMultiplyAddsPerSecond * block_efficiency);
  const double pack_b = row_tiles * n * k / kPackedElementsPerSecond;
  const double pack_a = column_tiles * rows_a_group * k / kPackedElementsPerSecond;
  const double sums = panels * rows_a_group * n * kPanelSeconds;
  const double compute = multiply + pack_a + pack_b + sums + row_tiles * column_tiles * kTileSeconds;
  // Row tiles that run side by side share one reading of B.
  const double readings = std::ceil(row_tiles / std::max(tile.group_size_m, device.cpu().threads));
  const double memory = readings * n * k * (bits_of(weights) / 8.0) / kWeightBytesPerSecond;

  const double tiles = groups * row_tiles * column_tiles;
  const double balance = std::ceil(tiles / device.cpu().threads) * device.cpu().threads / tiles;  // the last wave waits
  return groups * std::max(compute, memory) * balance / device.cpu().threads;
}

}  // namespace expertile::cpu
