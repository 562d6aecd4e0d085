#pragma once
// What the cost models of both GPU families share: how many tiles there are, and how long memory takes to feed them.

#include "expertile/device.hpp"
#include "expertile/problem.hpp"
#include "kernel_spec.hpp"

namespace expertile::gpu {

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

}  // namespace expertile::gpu
