#pragma once
// Where groups have few rows, the cost model sees no difference between most tiles: the best ones' neighbours are
// timed, too, and so on for a few steps.

#include "tune/tuning.hpp"

namespace expertile {

// The best tile found, from `start` of the result's evidence on. built_in: the default, which is in every race.
[[nodiscard]] Result<TileConfig> best_nearby(Tuning& tuning, const Batch& batch, const TileConfig& built_in,
                                             const TileConfig& start, BatchResult& result);

}  // namespace expertile
