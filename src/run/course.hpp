#pragma once
// A run under way: how far it is, who is told, and whether it is to stop.

#include <chrono>
#include <string>

#include "run/events.hpp"
#include "run/options.hpp"
#include "run/pace.hpp"
#include "tune/tuner.hpp"

namespace expertile::run {

class Course {
 public:
  // events: outlives it, and is called on the thread that calls this. batches: of all problems.
  Course(const Events& events, int batches);
  Course(const Course&) = delete;
  Course& operator=(const Course&) = delete;
  ~Course() = default;

  void begin(const NamedProblem& problem);
  void step(std::string_view line) const { tell(events_->step, line); }
  // Sets is_stopped and progress, which refer to this.
  void watch(TuneOptions& options);
  void decided(const ResultRow& row);

  // Asks, until the answer was yes once.
  bool is_stopped();

 private:
  using Clock = std::chrono::steady_clock;
  [[nodiscard]] double now() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  [[nodiscard]] TuneProgress standing(std::int64_t batch, const TileConfig& tile, double best_us) const;

  const Events* events_;
  Clock::time_point start_ = Clock::now();
  Pace pace_;
  std::string projection_;
  bool stopped_ = false;
};

}  // namespace expertile::run
