#pragma once
// Hopper's family: bulk tensor copies, barriers in shared memory, wgmma.

#include <cstdint>
#include <vector>

#include "plan/family.hpp"
#include "plan/gpu/tiles.hpp"

namespace expertile::sm90 {

// As plan/family.hpp says.
Supports supports;
CheckTile check_tile;
Grid grid;
Refuse refuse;
Estimate estimate_seconds;
BuiltIns built_in_tiles;
BuiltIn built_in_tile;
inline constexpr Family kFamily = {supports, check_tile, grid, refuse, estimate_seconds, built_in_tiles, built_in_tile};

// ---- for the family's own files -------------------------------------------------------------------------------------

[[nodiscard]] TileConfig make_tile(int m, int n, int k, int warps, int swap_ab, int pingpong = 0,
                                   int group = gpu::kBand);
// Stages of the ring that lets so many blocks share a multiprocessor.
[[nodiscard]] int stages_for(const Problem& problem, TileConfig tile, int blocks);
// Most of the tile's rows would be empty. No rule here and below: not refused.
[[nodiscard]] Refusal refuse_rows(const TileConfig& tile, double rows_a_group);
// Parts of K are for multiprocessors that would have no tile, and each is to keep its ring busy.
[[nodiscard]] Refusal refuse_parts(const Problem& problem, const TileConfig& tile, double rows_a_group,
                                   double active_groups, const DeviceInfo& device);

}  // namespace expertile::sm90
