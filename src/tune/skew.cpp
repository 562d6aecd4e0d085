#include "tune/skew.hpp"

#include <algorithm>

#include "tune/duel.hpp"

namespace expertile {
namespace {

// With uniform routing, tiles that lose no more of the time than this are told apart: what is gained with skewed
// routing is more, clearly.
constexpr double kSmallLoss = 0.03;
constexpr double kClearGain = 0.01;
constexpr const char* kSkewed = "zipf:1.2";
constexpr std::size_t kMostAlike = 8;  // tiles that are told apart
// Of the time for a batch size, beyond it: for the race, and for the duel.
constexpr double kShareOfTheRace = 0.25;
constexpr double kShareOfTheDuel = 0.1;

Result<Batch> skewed_batch(const Tuning& tuning, std::int64_t size) {
  const TuningJob& job = tuning.job();
  const auto routing = parse_routing(kSkewed, job.routing.seed);
  if (!routing) return fail(routing.error());
  return Batch::make(job.backend, job.problem, *routing, size, tuning.options().routing_samples);
}

}  // namespace

Result<std::optional<TileConfig>> best_when_skewed(Tuning& tuning, const Batch& batch, const Race& race,
                                                   const std::vector<TileConfig>& tiles, std::size_t winner,
                                                   BatchResult& result) {
  using Best = std::optional<TileConfig>;
  std::vector<std::size_t> alike = race.about_as_fast_as(winner, kSmallLoss);
  if (alike.size() == 1) return Best();
  alike.resize(std::min(alike.size(), kMostAlike));
  std::vector<TileConfig> compared;
  for (const std::size_t i : alike) compared.push_back(tiles[i]);

  const auto skewed = skewed_batch(tuning, batch.size);
  if (!skewed) return fail(skewed.error());
  const double seconds = tuning.options().seconds_per_batch;
  Race again(compared.size());
  if (auto status = tuning.measurer().run(again, compared, *skewed, kShareOfTheRace * seconds); !status) {
    return fail(status.error());
  }
  std::size_t best = 0;
  double least = -kClearGain;
  for (std::size_t i = 0; i < compared.size(); ++i) {
    std::ranges::find(result.evidence, compared[i], &CandidateEvidence::tile)->skewed_us = again.median(i);
    const double lost = race.lost(alike[i], winner) + again.lost(i, 0);
    if (lost >= least) continue;
    best = i;
    least = lost;
  }
  if (best == 0 || alike[best] == 0) return best == 0 ? Best() : Best(tiles[0]);
  Duel duel(kClearGain);
  const TileConfig both[] = {tiles[0], compared[best]};
  if (auto status = tuning.measurer().run(duel, both, *skewed, kShareOfTheDuel * seconds); !status) {
    return fail(status.error());
  }
  const Verdict verdict = duel.verdict();
  return verdict.is_clearly_faster(verdict.gain.noise(), kClearGain) ? Best(compared[best]) : Best();
}

}  // namespace expertile
