#pragma once
// Where no routing is known, tiles that are alike with uniform routing are told apart by how they take a skewed one.

#include <optional>
#include <vector>

#include "tune/tuning.hpp"

namespace expertile {

// Of a race's tiles, the one that gains more with skewed routing than it loses to the race's winner with uniform
// routing, and that is faster than the default (tile 0) there; nothing where there is none. The times go into the
// evidence.
[[nodiscard]] Result<std::optional<TileConfig>> best_when_skewed(Tuning& tuning, const Batch& batch, const Race& race,
                                                                 const std::vector<TileConfig>& tiles,
                                                                 std::size_t winner, BatchResult& result);

}  // namespace expertile
