#pragma once
// How long a tile of the Hopper family should take.

#include "expertile/device.hpp"
#include "expertile/problem.hpp"
#include "expertile/tile_config.hpp"
#include "kernel_spec.hpp"

namespace expertile::sm90 {

// The kernel of a tile, with C of the activations' type.
[[nodiscard]] KernelSpec spec_of(const Problem& problem, const TileConfig& tile);
[[nodiscard]] double estimate_seconds(const Problem& problem, const TileConfig& tile, std::int64_t rows,
                                      double active_groups, const DeviceInfo& device);

}  // namespace expertile::sm90
