#include "tune/neighbourhood.hpp"

#include <algorithm>

#include "plan/candidates.hpp"

namespace expertile {
namespace {

constexpr int kMostSteps = 3;
constexpr double kShareOfAStep = 0.1;  // of the time for a batch size, beyond it
constexpr double kAsGood = 1.03;       // times the best: a place to look around

// The best tile, and the fastest of another family if it is about as fast.
std::vector<TileConfig> places_to_begin(const BatchResult& result, const TileConfig& best) {
  std::vector<TileConfig> places{best};
  const CandidateEvidence* other = nullptr;
  for (const CandidateEvidence& one : result.evidence) {
    if (one.tile.kernel == best.kernel || !one.refused.empty()) continue;
    if (other == nullptr || one.median_us < other->median_us) other = &one;
  }
  const double best_us = std::ranges::find(result.evidence, best, &CandidateEvidence::tile)->median_us;
  if (other != nullptr && other->median_us <= kAsGood * best_us) places.push_back(other->tile);
  return places;
}

// Tiles that may run a batch size, next to these, that have not been tried.
std::vector<TileConfig> untried_around(const std::vector<TileConfig>& places, const TuningJob& job, const Batch& batch,
                                       const BatchResult& result) {
  std::vector<TileConfig> untried;
  for (const TileConfig& place : places) {
    for (const TileConfig& tile :
         neighbours(job.problem, place, batch.rows(), batch.load.active_groups, job.backend.info())) {
      if (std::ranges::find(result.evidence, tile, &CandidateEvidence::tile) == result.evidence.end()) {
        untried.push_back(tile);
      }
    }
  }
  return untried;
}

}  // namespace

Result<TileConfig> best_nearby(Tuning& tuning, const Batch& batch, const TileConfig& built_in, const TileConfig& start,
                               BatchResult& result) {
  TileConfig best = start;
  std::vector<TileConfig> places = places_to_begin(result, best);
  for (int step = 0; step < kMostSteps && !tuning.measurer().is_stopped(); ++step) {
    std::vector<TileConfig> tiles{built_in};
    if (best != built_in) tiles.push_back(best);
    const std::size_t known = tiles.size();
    tuning.add_usable(tiles, untried_around(places, tuning.job(), batch, result), result);
    if (tiles.size() == known) break;
    Race race(tiles.size());
    const double seconds = kShareOfAStep * tuning.options().seconds_per_batch;
    if (auto status = tuning.measurer().run(race, tiles, batch, seconds); !status) return fail(status.error());
    tuning.add_evidence(race, tiles, known, result);
    const std::size_t winner = race.best(known - 1);
    best = tiles[winner];
    std::size_t next = known;
    for (std::size_t i = known; i < tiles.size(); ++i) {
      if (race.median(i) < race.median(next)) next = i;
    }
    if (race.median(next) > kAsGood * race.median(winner)) break;
    places = {tiles[next]};
  }
  return best;
}

}  // namespace expertile
