#pragma once
// What the cost models of both GPU families share: how many tiles there are, and how long memory takes to feed them.

#include <vector>

#include "expertile/device.hpp"
#include "expertile/problem.hpp"
#include "kernel_spec.hpp"
#include "plan/candidates.hpp"

namespace expertile::gpu_model {

// Figures of a Hopper multiprocessor; the ranking depends on their ratios.
inline constexpr double kClock = 1.7e9;
inline constexpr double kSharedBytesPerClock = 128;
inline constexpr int kRegistersOfAMultiprocessor = 65536;
inline constexpr int kThreadsOfAMultiprocessor = 2048;

// Tiles of a call whose `rows` rows random routing deals to `active_groups` groups.
struct TileCounts {
  double groups = 1;
  double row_tiles = 1;     // of a group
  double cluster_rows = 1;  // likewise, of those that a cluster works on at a time; 1 at least
  double column_tiles = 1;
  double share = 1;  // of the row tiles, that is multiplied
  double parts = 1;  // of K, that different blocks multiply
  [[nodiscard]] double tiles() const { return groups * row_tiles * column_tiles; }
  [[nodiscard]] double blocks() const { return tiles() * parts; }
};
// Its share and its parts are 1.
[[nodiscard]] TileCounts count_tiles(const Problem& problem, const TileConfig& tile, std::int64_t rows,
                                     double active_groups);

// Of one of `groups` groups, to which random routing deals `mean` rows each on average.
struct RowsOfAGroup {
  double mean = 1;
  double groups = 1;
  [[nodiscard]] double deviation() const;
  // The chance that it has more rows than that.
  [[nodiscard]] double chance_of_more(double than) const;
};
// Of a call with so many rows: 1 at least.
[[nodiscard]] RowsOfAGroup rows_of_a_group(std::int64_t rows, double active_groups);
// chance_of_more(first), of (first + step) and so on, `count` of them, added up to 1e-9 of the sum; its work does not
// grow with rows or count.
inline constexpr int kMostTerms = 64;
struct ChanceSum {
  double value = 0;
  int terms = 0;  // chances that were worked out one by one, kMostTerms at most
};
[[nodiscard]] ChanceSum sum_of_chances(const RowsOfAGroup& rows, double first, double step, double count);
// Parts of `part` rows that hold the group's rows on average.
[[nodiscard]] double expected_parts(const RowsOfAGroup& rows, int part);

// Of a group's mean rows: with so many a tile, nearly all groups have one row tile.
inline constexpr double kOneRowTile = 1.25;
// Row tiles that pass over a column tile, and so its weights, together.
inline constexpr int kBand = 8;
// Bands of fewer where nearly every group has one row tile: they make no difference there, but where routing is more
// skewed than what was tuned for, weights would be read again for each row tile. No rule: not refused.
[[nodiscard]] Refusal refuse_short_band(const TileConfig& tile, double rows_a_group);

// Groups that have rows, of a call with so many rows whose routing is not known: as many as there can be.
[[nodiscard]] double groups_with_rows(const Problem& problem, std::int64_t rows);

// A family's estimate_seconds.
using Estimate = double (*)(const Problem& problem, const TileConfig& tile, std::int64_t rows, double active_groups,
                            const DeviceInfo& device);
// Of tiles, at least one, the fastest for such a call: of nearly equal ones an earlier one.
[[nodiscard]] TileConfig fastest(const std::vector<TileConfig>& tiles, Estimate estimate, const Problem& problem,
                                 std::int64_t rows, const DeviceInfo& device);

// Blocks that fit a multiprocessor at once, by shared memory, threads and registers (a thread's).
[[nodiscard]] int resident_blocks(const KernelSpec& spec, int registers, const DeviceInfo& device);

// Seconds for which each is busy at least.
struct Transfer {
  double memory = 0;
  double l2 = 0;
};
// bytes_in_flight: on their way to a multiprocessor at a time; l2_bytes_per_second: what the family's copies reach.
[[nodiscard]] Transfer transfer_seconds(const Problem& problem, const KernelSpec& spec, std::int64_t rows,
                                        const TileCounts& counts, double bytes_in_flight, double l2_bytes_per_second,
                                        const DeviceInfo& device);

}  // namespace expertile::gpu_model
