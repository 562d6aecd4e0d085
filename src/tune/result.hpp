#pragma once
// What a tuning hands on: one value a batch size.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "expertile/tile_config.hpp"
#include "problem/routing.hpp"

namespace expertile {

// The machine's own limits, measured with the library's kernels once a run.
struct Ceiling {
  double bytes_per_s = 0;  // of memory: see Backend::bandwidth
  double flops_per_s = 0;  // the dtype's micro-kernel on cache-resident panels, all threads
};

struct CandidateEvidence {
  TileConfig tile;
  bool is_default = false;
  std::vector<double> times_us;  // every sample of its race, in order
  double median_us = 0;
  double error_over_bound = 0;  // of the verification
  double skewed_us = 0;         // median with skewed routing; 0 where that did not decide
  std::string refused;          // empty, or why it was not timed
};

// The last duel of the default with another tile: each round timed both.
struct PairedTimes {
  std::vector<double> default_us;
  std::vector<double> challenger_us;
};

struct BatchResult {
  std::int64_t batch = 0;
  double rows = 0;  // mean over the samples
  // Medians over the same rounds, where the chosen tile is not the default; a tile that was chosen, and not given,
  // takes no longer than the default.
  double default_us = 0;
  double tuned_us = 0;
  double ratio = 1;       // the default's time over the tile's, median of the paired rounds
  double noise = 0;       // of the time: smaller gains count as none
  double spread = 0;      // how much single timings of the default vary, of its time; 0 where too few tell
  double waited = 0;      // of the time, that a CPU's threads waited for a processor: other programs had it
  double flops = 0;       // 2 * rows * N * K
  double bytes = 0;       // active experts' weights + A + C + scales: the least that must move
  double ceiling_us = 0;  // max(bytes / bandwidth, flops / peak)
  TileConfig tile;
  PairedTimes duel;  // empty where no tile looked faster than the default
  std::vector<CandidateEvidence> evidence;
  std::map<std::string, int> refusals;  // rule -> count
  std::vector<RoutingSample> samples;   // what was timed

  // Whether its times say more of what else the machine does than of the tiles.
  [[nodiscard]] bool is_unsteady() const { return spread > kLargestSpread || waited > kMostWaited; }

  static constexpr double kLargestSpread = 0.15;
  static constexpr double kMostWaited = 0.1;
};

}  // namespace expertile
