#include "run/course.hpp"

#include <fmt/format.h>

namespace expertile::run {

Course::Course(const Events& events, int batches)
    : events_(&events), pace_(batches, TuneOptions{}.seconds_per_batch, 0) {}

void Course::begin(const NamedProblem& one) {
  projection_ = one.projection;
  pace_.begin_batch(now());
  const Problem& problem = one.problem;
  step(fmt::format("{}: E={}, N={}, K={}, {}, top_k {}", one.projection, problem.experts, problem.n, problem.k,
                   name(problem.dtype), problem.top_k));
}

void Course::watch(TuneOptions& options) {
  options.is_stopped = [this] { return is_stopped(); };
  if (!events_->progress) return;
  options.progress = [this](std::int64_t batch, const TileConfig& tile, double best_us) {
    events_->progress(standing(batch, tile, best_us));
  };
}

void Course::decided(const ResultRow& row) {
  pace_.end_batch(now());
  const BatchResult& result = row.result;
  if (events_->decided) events_->decided(standing(result.batch, result.tile, result.tuned_us), row);
}

bool Course::is_stopped() {
  stopped_ = stopped_ || (events_->stop_requested && events_->stop_requested());
  return stopped_;
}

TuneProgress Course::standing(std::int64_t batch, const TileConfig& tile, double best_us) const {
  const double seconds = now();
  return {.projection = projection_,
          .batch = batch,
          .tile = tile,
          .best_us = best_us,
          .done = pace_.done(),
          .all = pace_.batches(),
          .share_done = pace_.share_done(seconds),
          .seconds_left = pace_.seconds_left(seconds)};
}

}  // namespace expertile::run
