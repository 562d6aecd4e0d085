#pragma once
// The Hopper family: which of its tiles can run a problem, and which are worth timing.

#include <vector>

#include "expertile/device.hpp"
#include "expertile/problem.hpp"
#include "expertile/tile_config.hpp"
#include "plan/candidates.hpp"

namespace expertile::sm90 {

// Whether the family runs this problem on this device at all; else the portable one does.
[[nodiscard]] bool supports(const Problem& problem, const DeviceInfo& device);
[[nodiscard]] Status check_tile(const Problem& problem, const TileConfig& tile, const DeviceInfo& device);
[[nodiscard]] std::vector<TileConfig> grid(const Problem& problem);
// Why a tile that could run is not worth timing; an empty rule means that it is.
[[nodiscard]] Refusal refuse(const Problem& problem, const TileConfig& tile, double rows_a_group, double active_groups,
                             const DeviceInfo& device);
// These two: only where the family is supported. Every default for this problem,
[[nodiscard]] std::vector<TileConfig> built_in_tiles(const Problem& problem, const DeviceInfo& device);
// and of these the one for a call with so many rows.
[[nodiscard]] TileConfig built_in_tile(const std::vector<TileConfig>& tiles, const Problem& problem, std::int64_t rows,
                                       const DeviceInfo& device);

}  // namespace expertile::sm90
