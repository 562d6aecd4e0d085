// What runs of the portable family where no file was tuned.

#include <algorithm>

#include "plan/distinct.hpp"
#include "plan/sm80/family.hpp"

namespace expertile::sm80 {
namespace {

// What a device or a problem does not hold gets fewer and shorter stages, then a smaller tile.
TileConfig fitted(TileConfig tile, const Problem& problem, const DeviceInfo& device) {
  struct Way {
    int TileConfig::*number;
    int least;
    bool halves;  // else one less at a time
  };
  for (const Way& way : {Way{&TileConfig::num_stages, 3, false}, Way{&TileConfig::block_size_k, 32, true},
                         Way{&TileConfig::block_size_n, 64, true}, Way{&TileConfig::block_size_m, 32, true},
                         Way{&TileConfig::num_stages, 2, false}}) {
    int& number = tile.*way.number;
    while (number > way.least && !sm80::check_tile(problem, tile, device))
      number = way.halves ? number / 2 : number - 1;
  }
  return tile;
}

}  // namespace

std::vector<TileConfig> built_in_tiles(const Problem& problem, const DeviceInfo& device) {
  const int few = k_block_elements(problem, 256);  // long rows of weights where memory is the limit
  const int many = k_block_elements(problem, 128);
  std::vector<TileConfig> tiles;
  for (const TileConfig& tile :
       {make_tile(8, 64, few, 4, 4, 1, 1), make_tile(16, 64, few, 4, 4, 1, 1), make_tile(32, 64, few, 4, 4, 1, 1),
        make_tile(64, 64, many, 4, 4, 1, 0), make_tile(64, 128, many, 4, 3, 1, 0),
        make_tile(128, 128, many, 4, 3, 1, 0), make_tile(128, 256, many, 8, 3, 1, 0)}) {
    add_once(tiles, fitted(tile, problem, device));
  }
  return tiles;
}

TileConfig built_in_tile(const std::vector<TileConfig>& tiles, const Problem& problem, std::int64_t rows,
                         const DeviceInfo& device) {
  return gpu::fastest(tiles, sm80::estimate_seconds, problem, rows, device);
}

}  // namespace expertile::sm80
