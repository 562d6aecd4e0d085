#include "plan/refusals.hpp"

#include <fmt/format.h>

namespace expertile {

Refusal refuse_columns(const Problem& problem, const TileConfig& tile, int narrowest) {
  if (tile.block_size_n <= narrowest || tile.block_size_n < 2 * problem.n) return {};
  return {tile, "more columns than N",
          fmt::format("BLOCK_SIZE_N={} is twice or more N={}", tile.block_size_n, problem.n)};
}

}  // namespace expertile
