#include "tune/plans.hpp"

#include <algorithm>
#include <exception>
#include <utility>

#include "problem/sizes.hpp"

namespace expertile {

Plans::Plans(const Backend& backend, const Problem& problem, const std::vector<Batch>& batches)
    : backend_(backend), problem_(problem) {
  std::vector<TileConfig> known;
  for (const Batch& batch : batches) {
    Plan plan{make_candidates(problem_, batch.rows(), batch.load.active_groups, backend_.info()), {}, {}};
    std::vector<TileConfig> tiles{built_in_tile(problem_, batch.rows(), backend_.info())};
    tiles.insert(tiles.end(), plan.set.candidates.begin(), plan.set.candidates.end());
    for (const TileConfig& tile : tiles) {
      if (std::find(known.begin(), known.end(), tile) != known.end()) continue;
      known.push_back(tile);
      plan.new_tiles.push_back(tile);
    }
    plans_.push_back(std::move(plan));
  }
  for (std::future<void>& task : tasks_) task = std::async(std::launch::async, [this] { compile(); });
}

Plans::~Plans() { is_over_ = true; }

// By each of the tasks: the plans that none has begun with.
void Plans::compile() {
  for (std::size_t i = next_++; i < plans_.size(); i = next_++) {
    try {
      if (!is_over_) backend_.compile_ahead(problem_, plans_[i].new_tiles, usual_types(problem_));
      plans_[i].is_compiled.set_value();
    } catch (...) {
      plans_[i].is_compiled.set_exception(std::current_exception());
    }
  }
}

}  // namespace expertile
