#pragma once
// The CPU family: which of its tiles can run a problem, and which are worth timing.

#include <vector>

#include "expertile/device.hpp"
#include "expertile/problem.hpp"
#include "expertile/tile_config.hpp"
#include "plan/candidates.hpp"

namespace expertile::cpu {

[[nodiscard]] Status check_tile(const Problem& problem, const TileConfig& tile);
[[nodiscard]] std::vector<TileConfig> grid(const Problem& problem);
// Why a tile that could run is not worth timing; an empty rule means that it is.
[[nodiscard]] Refusal refuse(const Problem& problem, const TileConfig& tile, double rows_a_group,
                             const DeviceInfo& device);
// Every default for this problem, and the one for a call with so many rows.
[[nodiscard]] std::vector<TileConfig> built_in_tiles(const Problem& problem, const DeviceInfo& device);
[[nodiscard]] TileConfig built_in_tile(const Problem& problem, std::int64_t rows, const DeviceInfo& device);

}  // namespace expertile::cpu
