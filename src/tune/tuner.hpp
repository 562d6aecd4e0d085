#pragma once
// Coordinates one problem's tuning, one batch size after the other: candidates, verify, race, skewed routing or a look
// around, a duel with the default.

#include <cstdint>
#include <functional>
#include <vector>

#include "backend/backend.hpp"
#include "problem/routing.hpp"
#include "tune/processor_wait.hpp"
#include "tune/result.hpp"
#include "tune/tile_checks.hpp"

namespace expertile {

[[nodiscard]] Result<Ceiling> measure_ceiling(const Backend& backend, const Problem& problem);

// What is to be timed, and what for.
struct TuningJob {
  const Backend& backend;
  const Problem& problem;
  const Routing& routing;
  std::vector<std::int64_t> batches;  // in this order
  Ceiling ceiling;
};

struct TuneOptions {
  double seconds_per_batch = 5;  // measuring time for one batch size; at least one race round is always finished
  int routing_samples = 4;
  Calls calls = Calls::in_a_graph;
  std::function<bool()> is_stopped;  // asked before each timing; once it says yes, what is decided is returned
  std::vector<RefusedTile> refused;  // never run: they hung or broke an earlier attempt
  // Called before a tile runs on the device for the first time or again: who watches knows what was in hand.
  std::function<void(std::int64_t batch, const TileConfig& tile)> trying;
  // For the progress line: what was just timed, and the best time so far.
  std::function<void(std::int64_t batch, const TileConfig& tile, double best_us)> progress;
  // Called as soon as a batch size is decided; an error ends the tuning.
  std::function<Status(const BatchResult&)> decided;
  // How long this process's threads waited for processors so far.
  std::function<double()> seconds_waited = seconds_waited_for_processors;
};

// Chooses a tile for each batch size: the default, or one that is faster by more than the noise.
[[nodiscard]] Result<std::vector<BatchResult>> tune(const TuningJob& job, const TuneOptions& options);
// Times the default alone.
[[nodiscard]] Result<std::vector<BatchResult>> time_default(const TuningJob& job, const TuneOptions& options);
// Times the tiles that `given` names, by rows, beside the default; nothing is chosen.
[[nodiscard]] Result<std::vector<BatchResult>> time_given(const TuningJob& job, const TuneOptions& options,
                                                          const std::function<TileConfig(std::int64_t rows)>& given);

}  // namespace expertile
