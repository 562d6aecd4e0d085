#pragma once
// Problem and device limits in; candidates and refusals with reasons out. No I/O, no clock.

#include <cstdint>
#include <string>
#include <vector>

#include "expertile/problem.hpp"
#include "expertile/tile_config.hpp"
#include "plan/family.hpp"
#include "plan/row_steps.hpp"
#include "plan/tile_schema.hpp"

namespace expertile {

struct CandidateSet {
  std::vector<TileConfig> candidates;  // best by the cost model first
  std::vector<Refusal> refused;
};

// rows: M. active_groups: groups that are not empty, on average.
[[nodiscard]] CandidateSet make_candidates(const Problem& problem, std::int64_t rows, double active_groups,
                                           const DeviceInfo& device);
// Tiles that may run such a call and differ from this one in one number that the cost model knows little about. rows,
// active_groups: as above.
[[nodiscard]] std::vector<TileConfig> neighbours(const Problem& problem, const TileConfig& tile, std::int64_t rows,
                                                 double active_groups, const DeviceInfo& device);
// May this tile run this problem at all (from a file, say)? The error's message is the reason with values.
[[nodiscard]] Status check_tile(const Problem& problem, const TileConfig& tile, const DeviceInfo& device);
// Every default without a file for this problem: at least one, and each passes check_tile.
[[nodiscard]] std::vector<TileConfig> built_in_tiles(const Problem& problem, const DeviceInfo& device);
// The one for so many rows: the same for all rows of a row_step. tiles: built_in_tiles, where they are at hand.
[[nodiscard]] TileConfig built_in_tile(const Problem& problem, std::int64_t rows, const DeviceInfo& device);
[[nodiscard]] TileConfig built_in_tile(const std::vector<TileConfig>& tiles, const Problem& problem, std::int64_t rows,
                                       const DeviceInfo& device);
// A GPU's default for rows that are not aligned, which only the portable family reads.
[[nodiscard]] TileConfig portable_tile(const Problem& problem, std::int64_t rows, const DeviceInfo& device);

}  // namespace expertile
