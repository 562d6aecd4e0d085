// What runs on a CPU where no file was tuned.

#include <algorithm>

#include "plan/cpu/family.hpp"
#include "plan/distinct.hpp"
#include "plan/row_steps.hpp"
#include "problem/sizes.hpp"

namespace expertile::cpu {

std::vector<TileConfig> built_in_tiles(const Problem& problem, const DeviceInfo& device) {
  std::vector<TileConfig> tiles;
  for (int step = 0; step < kRowSteps; ++step) {
    add_once(tiles, cpu::built_in_tile({}, problem, rows_of_step(step), device));
  }
  return tiles;
}

// Worked out from the rows, so that no list of tiles is needed.
TileConfig built_in_tile(const std::vector<TileConfig>& /*tiles*/, const Problem& problem, std::int64_t rows,
                         const DeviceInfo& device) {
  // Rows an expert, as if routing were even; the heuristic sees no histogram.
  const std::int64_t active = std::clamp<std::int64_t>(rows, 1, problem.experts);
  const std::int64_t each = ceil_div(std::max<std::int64_t>(rows, 1), active);
  TileConfig tile;
  // Routing is uneven: a mean of 4 rows means groups of 8. Few rows pay for the end of each panel, so their panels are
  // as long as the L2 allows; many rows reuse a shorter panel while it is in the L2. Weights that are multiplied where
  // they lie want their rows of A in the L1 instead.
  const bool few = each <= 8;
  const bool in_place = few && each > 2 && weight_type(problem) == ElementType::bfloat16;
  tile.block_size_m = each <= 2 ? 4 : few ? 8 : each <= 24 ? 16 : each <= 48 ? 32 : 64;
  tile.block_size_n = in_place ? 24 : few ? 48 : 96;
  tile.block_size_k = static_cast<int>(std::min<std::int64_t>(problem.k, few && !in_place ? 4096 : 1024));
  while (scratch_bytes(tile) > device.cpu().l2_bytes_core && tile.block_size_k > 64) tile.block_size_k /= 2;
  return tile;
}

}  // namespace expertile::cpu
