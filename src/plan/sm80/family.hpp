#pragma once
// The portable GPU family: mma.sync, ldmatrix, cp.async.

#include <cstdint>
#include <vector>

#include "plan/family.hpp"
#include "plan/gpu/tiles.hpp"

namespace expertile::sm80 {

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

[[nodiscard]] TileConfig make_tile(int m, int n, int k, int warps, int stages, int split_k, int swap_ab,
                                   int group = gpu::kBand);
// BLOCK_SIZE_K whose rows of weights are so many bytes long, or as long as a block of scales has room for.
[[nodiscard]] int k_block_elements(const Problem& problem, int bytes);

}  // namespace expertile::sm80
