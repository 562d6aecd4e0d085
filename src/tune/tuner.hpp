#pragma once
// Coordinates one problem's tuning: candidates, verify, race, look around, choose, one batch size after the other.

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "problem/routing.hpp"
#include "tune/tile_checks.hpp"

namespace expertile {

// Groups of fewer rows, on average, wait for memory alone, whichever way they are routed.
inline constexpr int kFewRows = 32;

// The machine's own limits, measured with the library's kernels once a run.
struct Ceiling {
  double bytes_per_s = 0;  // of memory: see Backend::bandwidth
  double flops_per_s = 0;  // the dtype's micro-kernel on cache-resident panels, all threads
};
[[nodiscard]] Result<Ceiling> measure_ceiling(const Backend& backend, const Problem& problem);

struct CandidateEvidence {
  TileConfig tile;
  bool is_default = false;
  std::vector<double> times_us;  // every sample, in order
  double median_us = 0;
  double error_over_bound = 0;  // of the verification
  double skewed_us = 0;         // median with skewed routing; 0 where that did not decide
  std::string refused;          // empty, or why it was not timed
};

struct BatchResult {
  std::int64_t batch = 0;
  double rows = 0;        // mean over the samples
  double default_us = 0;  // median
  double tuned_us = 0;    // median of the chosen tile
  double flops = 0;       // 2 * rows * N * K
  double bytes = 0;       // active experts' weights + A + C + scales: the least that must move
  double ceiling_us = 0;  // max(bytes / bandwidth, flops / peak)
  TileConfig tile;
  std::vector<CandidateEvidence> evidence;
  std::map<std::string, int> refusals;  // rule -> count
  std::vector<RoutingSample> samples;   // what was timed
};

struct TuneOptions {
  bool only_default = false;     // --no-tune
  double seconds_per_batch = 5;  // measuring time for one batch size; at least one race round is always finished
  int routing_samples = 4;
  Calls calls = Calls::in_a_graph;
  const std::atomic<bool>* stop = nullptr;  // Ctrl-C: return what is decided
  std::vector<RefusedTile> refused;         // never run: they hung or broke an earlier attempt
  // Called before a tile runs on the device for the first time or again: who watches knows what was in hand.
  std::function<void(std::int64_t batch, const TileConfig& tile)> trying;
  // For the progress line: what was just timed, and the best time so far.
  std::function<void(std::int64_t batch, const TileConfig& tile, double best_us)> progress;
  std::function<Status(const BatchResult&)>
      decided;  // called as soon as a batch size is decided; an error ends the tuning
};

// Tunes `batches` in order. Timing only selections: `fixed` gives the tile per rows instead of a race (bench).
[[nodiscard]] Result<std::vector<BatchResult>> tune(const Backend& backend, const Problem& problem,
                                                    const Routing& routing, const std::vector<std::int64_t>& batches,
                                                    const Ceiling& ceiling, const TuneOptions& options,
                                                    const std::function<TileConfig(std::int64_t rows)>& fixed = {});

}  // namespace expertile
