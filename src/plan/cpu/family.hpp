#pragma once
// The CPU family.

#include <cstdint>
#include <vector>

#include "plan/family.hpp"

namespace expertile::cpu {

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

// Bytes of scratch a thread needs for a tile.
[[nodiscard]] std::int64_t scratch_bytes(const TileConfig& tile);

}  // namespace expertile::cpu
