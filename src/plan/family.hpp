#pragma once
// What a kernel family tells the planner: these functions, each family's in a folder of its own, in the files legal,
// grid, cost and default.

#include <cstdint>
#include <vector>

#include "expertile/device.hpp"
#include "expertile/problem.hpp"
#include "expertile/tile_config.hpp"
#include "plan/refusals.hpp"

namespace expertile {

// legal.cpp. Whether the family runs this problem on this device at all.
using Supports = bool(const Problem& problem, const DeviceInfo& device);
// May this tile run it? The error's message is the reason with values.
using CheckTile = Status(const Problem& problem, const TileConfig& tile, const DeviceInfo& device);

// grid.cpp. The tiles that are looked at, in the order in which they are usually best: where the cost model sees no
// difference, the first is taken.
using Grid = std::vector<TileConfig>(const Problem& problem);
// Why a tile is not worth timing, or cannot run; an empty rule means that it is worth it. active_groups: groups that
// are not empty, on average.
using Refuse = Refusal(const Problem& problem, const TileConfig& tile, double rows_a_group, double active_groups,
                       const DeviceInfo& device);

// cost.cpp. Seconds of a call with a tile that can run. Only the order matters: the few best are measured.
using Estimate = double(const Problem& problem, const TileConfig& tile, std::int64_t rows, double active_groups,
                        const DeviceInfo& device);

// default.cpp. Every default without a file for this problem: at least one, each different, each passes check_tile.
using BuiltIns = std::vector<TileConfig>(const Problem& problem, const DeviceInfo& device);
// And of these the one for a call with so many rows.
using BuiltIn = TileConfig(const std::vector<TileConfig>& tiles, const Problem& problem, std::int64_t rows,
                           const DeviceInfo& device);

struct Family {
  Supports* supports;
  CheckTile* check_tile;
  Grid* grid;
  Refuse* refuse;
  Estimate* estimate_seconds;
  BuiltIns* built_in_tiles;
  BuiltIn* built_in_tile;
};
[[nodiscard]] const Family& functions_of(KernelFamily family);
// Those that run a problem on a device, at least one; the last has the defaults.
[[nodiscard]] std::vector<KernelFamily> families_of(const Problem& problem, const DeviceInfo& device);

}  // namespace expertile
