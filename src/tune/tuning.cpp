#include "tune/tuning.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "plan/candidates.hpp"
#include "problem/sizes.hpp"
#include "tune/duel.hpp"

namespace expertile {
namespace {

// For a duel: of the time for a batch size, beyond it.
constexpr double kShareOfADuel = 0.1;

}  // namespace

Result<Tuning> Tuning::make(const TuningJob& job, const TuneOptions& options, const std::vector<Batch>& batches) {
  auto measurer = Measurer::make(job, options, batches);
  if (!measurer) return fail(measurer.error());
  return Tuning(job, options, std::move(*measurer));
}

Result<TileConfig> Tuning::usable_default(const Batch& batch) {
  const Problem& problem = job_->problem;
  const TileConfig tile = built_in_tile(problem, batch.rows(), job_->backend.info());
  if (const auto prepared = measurer_.prepare({tile}, SlowKernels::taken); !prepared[0])
    return fail(prepared[0].error());
  if (options_->trying) options_->trying(batch.size, tile);
  if (const std::string reason = checks_.reason_to_refuse(tile); !reason.empty()) {
    return fail(ErrorCode::internal, fmt::format("the built-in configuration gives a wrong result: {}", reason));
  }
  return tile;
}

void Tuning::add_usable(std::vector<TileConfig>& tiles, const std::vector<TileConfig>& wanted, BatchResult& result) {
  const auto prepared = measurer_.prepare(wanted, SlowKernels::refused);
  for (std::size_t i = 0; i < wanted.size() && !measurer_.is_stopped(); ++i) {
    const TileConfig& tile = wanted[i];
    if (std::find(tiles.begin(), tiles.end(), tile) != tiles.end()) continue;
    if (options_->trying) options_->trying(result.batch, tile);
    std::string refused = prepared[i] ? checks_.reason_to_refuse(tile) : prepared[i].error().message;
    if (refused.empty()) {
      tiles.push_back(tile);
      continue;
    }
    ++result.refusals[prepared[i] ? "wrong result or broken" : "cannot be compiled or loaded"];
    CandidateEvidence evidence;
    evidence.tile = tile;
    evidence.refused = std::move(refused);
    result.evidence.push_back(std::move(evidence));
  }
}

void Tuning::add_evidence(const Race& race, const std::vector<TileConfig>& tiles, std::size_t first,
                          BatchResult& result) {
  for (std::size_t i = first; i < tiles.size(); ++i) {
    CandidateEvidence evidence;
    evidence.tile = tiles[i];
    evidence.is_default = i == 0;
    evidence.times_us = race.times(i);
    evidence.median_us = race.median(i);
    evidence.error_over_bound = checks_.error_over_bound(tiles[i]);
    result.evidence.push_back(std::move(evidence));
  }
}

Status Tuning::settle(const Batch& batch, std::span<const Challenger> challengers, BatchResult& result) {
  const auto of_default = std::ranges::find(result.evidence, true, &CandidateEvidence::is_default);
  result.tile = of_default->tile;
  result.default_us = of_default->median_us;
  result.tuned_us = of_default->median_us;
  const std::size_t period = measurer_.period(batch);
  std::vector<double> relative = relative_times(of_default->times_us, period);
  result.spread = spread_of(relative);
  result.noise = median_limits(relative).noise();
  result.waited = measurer_.waited();
  for (const Challenger& challenger : challengers) {
    if (challenger.tile == of_default->tile) continue;
    Duel duel;
    const TileConfig tiles[] = {of_default->tile, challenger.tile};
    auto status = measurer_.run(duel, tiles, batch, kShareOfADuel * options_->seconds_per_batch);
    if (!status || measurer_.is_stopped()) return status;
    const Verdict verdict = duel.verdict();
    const std::vector<double> more = relative_times(duel.times(0), period);
    relative.insert(relative.end(), more.begin(), more.end());
    result.spread = spread_of(relative);
    result.waited = measurer_.waited();
    // What was measured beside other programs may turn around without them: it must stand out of all that varied.
    result.noise = std::max(verdict.gain.noise(), result.is_unsteady() ? result.spread : 0);
    result.default_us = verdict.default_us;
    result.tuned_us = verdict.default_us;
    result.duel = {duel.times(0), duel.times(1)};
    const bool has_won = challenger.must_be_faster ? verdict.is_clearly_faster(result.noise) : verdict.is_no_slower();
    if (!has_won) continue;
    result.tile = challenger.tile;
    result.tuned_us = verdict.challenger_us;
    result.ratio = 1 / (1 - verdict.gain.median);
    return {};
  }
  return {};
}

}  // namespace expertile
