#pragma once
// Times tiles on the device, in the order that a contest asks for.

#include <cstddef>
#include <span>
#include <vector>

#include "tune/batch.hpp"
#include "tune/contest.hpp"
#include "tune/planned_tiles.hpp"
#include "tune/tensors.hpp"
#include "tune/tuner.hpp"

namespace expertile {

class Measurer {
 public:
  // With tensors for the largest of `batches`; an error where the device has no room for them. What it is made with
  // outlives it.
  [[nodiscard]] static Result<Measurer> make(const TuningJob& job, const TuneOptions& options,
                                             const std::vector<Batch>& batches);

  // Tiles must be prepared before they are timed. Success for each, or why it cannot be compiled or loaded.
  [[nodiscard]] std::vector<Status> prepare(const std::vector<TileConfig>& tiles, SlowKernels slow) {
    return plans_.add(tiles, slow);
  }
  // A batch size begins: what is said of best times and of waiting is said of it from here.
  void begin();
  // To the contest's end, or until the user stops it: see is_stopped. seconds: the time that is set for it.
  Status run(Contest& contest, std::span<const TileConfig> tiles, const Batch& batch, double seconds);
  [[nodiscard]] bool is_stopped() const { return options_->is_stopped && options_->is_stopped(); }
  // Of the time since begin(), that a CPU's threads waited for processors.
  [[nodiscard]] double waited() const;
  // After so many timings in a row the same routing samples are timed again.
  [[nodiscard]] std::size_t period(const Batch& batch) const;

 private:
  Measurer(const TuningJob& job, const TuneOptions& options)
      : job_(&job), options_(&options), plans_(job.backend, job.problem) {}
  [[nodiscard]] std::vector<GroupedGemmArgs> next_calls(const Batch& batch, std::size_t round, std::size_t count);
  Status time_heats(Contest& contest, std::span<const TileConfig> tiles, const Batch& batch, double seconds);

  const TuningJob* job_;
  const TuneOptions* options_;
  PlannedTiles plans_;
  std::vector<Tensors> tensors_;  // copies that calls take turns on, so that weights are cold
  std::size_t calls_ = 0;
  std::size_t calls_a_timing_ = 1;
  double best_us_ = 0;         // 0 for none
  double seconds_waited_ = 0;  // by all threads
  double seconds_measured_ = 0;
};

}  // namespace expertile
