#pragma once
// What the steps of one problem's tuning share: what is tuned, the device's clock, and which tiles may be timed.

#include <span>
#include <vector>

#include "tune/measurer.hpp"
#include "tune/race.hpp"
#include "tune/tile_checks.hpp"
#include "tune/tuner.hpp"

namespace expertile {

// A tile that may be written instead of the default, once it has won a duel with it.
struct Challenger {
  TileConfig tile;
  bool must_be_faster = true;  // false: it has won elsewhere, and must be no slower here
};

class Tuning {
 public:
  // What it is made with outlives it.
  [[nodiscard]] static Result<Tuning> make(const TuningJob& job, const TuneOptions& options,
                                           const std::vector<Batch>& batches);

  [[nodiscard]] const TuningJob& job() const { return *job_; }
  [[nodiscard]] const TuneOptions& options() const { return *options_; }
  [[nodiscard]] Measurer& measurer() { return measurer_; }

  // The built-in tile of a batch size; an error where it gives no right result, which nothing can replace.
  [[nodiscard]] Result<TileConfig> usable_default(const Batch& batch);
  // Adds to `tiles` those of `wanted` that compile and give right results; what is refused goes into the result.
  void add_usable(std::vector<TileConfig>& tiles, const std::vector<TileConfig>& wanted, BatchResult& result);
  // The times of a race's tiles from `first` on go into the result. The result's first tile of all is the default.
  void add_evidence(const Race& race, const std::vector<TileConfig>& tiles, std::size_t first, BatchResult& result);
  // Duels with the default, whose evidence is in the result, until a challenger wins; else the default is taken.
  Status settle(const Batch& batch, std::span<const Challenger> challengers, BatchResult& result);

 private:
  Tuning(const TuningJob& job, const TuneOptions& options, Measurer measurer)
      : job_(&job),
        options_(&options),
        measurer_(std::move(measurer)),
        checks_(job.backend, job.problem, options.refused) {}

  const TuningJob* job_;
  const TuneOptions* options_;
  Measurer measurer_;
  TileChecks checks_;
};

}  // namespace expertile
