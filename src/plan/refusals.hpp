#pragma once
// Why a tile is not worth timing, and the reasons that families share.

#include <string>

#include "expertile/problem.hpp"
#include "expertile/tile_config.hpp"

namespace expertile {

struct Refusal {
  TileConfig tile;
  std::string rule;    // short, for counts: "scratch larger than L2"; empty where the tile is not refused
  std::string reason;  // with the values
};

// BLOCK_SIZE_N is twice or more N, and a narrower one than `narrowest` would leave no fewer columns empty.
[[nodiscard]] Refusal refuse_columns(const Problem& problem, const TileConfig& tile, int narrowest);

}  // namespace expertile
