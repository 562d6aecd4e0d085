#pragma once
// A candidate is timed only after it agreed with the double-precision reference.

#include "backend/backend.hpp"

namespace expertile {

// Worst error over its derived bound, on small, ragged and aligned cases cut from the problem, the last with more than
// a whole tile along every side; more than 1 is wrong, and a write outside the groups, or none inside, gives infinity.
// An error says why the tile could not run.
[[nodiscard]] Result<double> verify_tile(const Backend& backend, const Problem& problem, const TileConfig& tile);

}  // namespace expertile
