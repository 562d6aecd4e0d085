#include "tune/planned_tiles.hpp"

#include <fmt/format.h>

#include "plan/tile_schema.hpp"

namespace expertile {

std::vector<Status> PlannedTiles::add(const std::vector<TileConfig>& tiles, SlowKernels slow) {
  std::vector<TileConfig> missing;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < tiles.size(); ++i) {
    if (of(tiles[i])) continue;
    missing.push_back(tiles[i]);
    places.push_back(i);
  }
  std::vector<Status> statuses(tiles.size());
  if (missing.empty()) return statuses;
  const auto plans = executor_.plan(problem_, missing, {usual_types(problem_)}, slow);
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (plans[i]) {
      plans_.push_back(*plans[i]);
    } else {
      statuses[places[i]] = fail(plans[i].error());
    }
  }
  return statuses;
}

Result<SharedPlan> PlannedTiles::of(const TileConfig& tile) const {
  for (const SharedPlan& plan : plans_) {
    if (plan->tile() == tile) return plan;
  }
  return fail(ErrorCode::internal, fmt::format("{} was not prepared", describe(tile)));
}

}  // namespace expertile
