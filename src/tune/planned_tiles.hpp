#pragma once
// The tiles of a tuning, bound to its problem: each once, however often it is timed.

#include <vector>

#include "backend/backend.hpp"

namespace expertile {

// What it is made with outlives it. One thread at a time.
class PlannedTiles {
 public:
  PlannedTiles(const Executor& executor, const Problem& problem) : executor_(executor), problem_(problem) {}

  // Success for each, or why it cannot be compiled or loaded.
  [[nodiscard]] std::vector<Status> add(const std::vector<TileConfig>& tiles, SlowKernels slow);
  // Of a tile that was added with success.
  [[nodiscard]] Result<SharedPlan> of(const TileConfig& tile) const;

 private:
  const Executor& executor_;
  const Problem& problem_;
  std::vector<SharedPlan> plans_;
};

}  // namespace expertile
