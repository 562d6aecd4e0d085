#pragma once
// How long a tile should take on the CPU. Only the order matters: the few best are measured.

#include "expertile/device.hpp"
#include "expertile/problem.hpp"
#include "expertile/tile_config.hpp"

namespace expertile {

[[nodiscard]] double estimate_seconds(const Problem& problem, const TileConfig& tile, std::int64_t rows,
                                      double active_groups, const DeviceInfo& device);

}  // namespace expertile
