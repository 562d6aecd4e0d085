#include "tune/tuner.hpp"

#include <algorithm>
#include <new>
#include <optional>
#include <utility>

#include "plan/candidates.hpp"
#include "problem/sizes.hpp"
#include "tune/neighbourhood.hpp"
#include "tune/plans.hpp"
#include "tune/skew.hpp"
#include "tune/tuning.hpp"

namespace expertile {
namespace {

Result<std::vector<Batch>> batches_of(const TuningJob& job, const TuneOptions& options) {
  std::vector<Batch> batches;
  for (const std::int64_t size : job.batches) {
    auto batch = Batch::make(job.backend, job.problem, job.routing, size, options.routing_samples);
    if (!batch) return fail(batch.error());
    batches.push_back(std::move(*batch));
  }
  return batches;
}

// What is known of a batch size before anything is timed.
BatchResult described(const TuningJob& job, const Batch& batch) {
  BatchResult result;
  result.batch = batch.size;
  result.samples = batch.samples;
  result.rows = batch.load.rows;
  result.flops = 2 * result.rows * static_cast<double>(job.problem.n) * static_cast<double>(job.problem.k);
  result.bytes = bytes_moved(job.problem, result.rows, batch.load.active_groups);
  const Ceiling& ceiling = job.ceiling;
  if (ceiling.bytes_per_s > 0 && ceiling.flops_per_s > 0) {
    result.ceiling_us = 1e6 * std::max(result.bytes / ceiling.bytes_per_s, result.flops / ceiling.flops_per_s);
  }
  return result;
}

// Decides a batch size; what it gives is thrown away where the user stopped it.
class Decision {
 public:
  virtual ~Decision() = default;
  virtual Result<BatchResult> of(Tuning& tuning, const std::vector<Batch>& batches, std::size_t index) = 0;
};

// The default, first of all tiles, and those of `wanted` that are right, raced: the times are in the result.
struct Raced {
  BatchResult result;
  std::vector<TileConfig> tiles;
  Race race;
};
Result<Raced> raced(Tuning& tuning, const Batch& batch, BatchResult result, const std::vector<TileConfig>& wanted) {
  tuning.measurer().begin();
  const auto built_in = tuning.usable_default(batch);
  if (!built_in) return fail(built_in.error());
  std::vector<TileConfig> tiles{*built_in};
  tuning.add_usable(tiles, wanted, result);
  Race race(tiles.size());
  if (auto status = tuning.measurer().run(race, tiles, batch, tuning.options().seconds_per_batch); !status) {
    return fail(status.error());
  }
  tuning.add_evidence(race, tiles, 0, result);
  return Raced{std::move(result), std::move(tiles), std::move(race)};
}

class TimedDefault final : public Decision {
 public:
  Result<BatchResult> of(Tuning& tuning, const std::vector<Batch>& batches, std::size_t index) override {
    const Batch& batch = batches[index];
    auto done = raced(tuning, batch, described(tuning.job(), batch), {});
    if (!done) return fail(done.error());
    if (auto status = tuning.settle(batch, {}, done->result); !status) return fail(status.error());
    return std::move(done->result);
  }
};

class TimedTiles final : public Decision {
 public:
  explicit TimedTiles(const std::function<TileConfig(std::int64_t)>& given) : given_(given) {}
  Result<BatchResult> of(Tuning& tuning, const std::vector<Batch>& batches, std::size_t index) override {
    const Batch& batch = batches[index];
    auto done = raced(tuning, batch, described(tuning.job(), batch), {given_(batch.rows())});
    if (!done) return fail(done.error());
    BatchResult& result = done->result;
    if (auto status = tuning.settle(batch, {}, result); !status) return fail(status.error());
    const std::size_t last = done->tiles.size() - 1;  // the default where the tile is that, or gives no right results
    result.tile = done->tiles[last];
    result.tuned_us = done->race.median(last);
    result.ratio = 1 / (1 + done->race.lost(last, 0));
    return std::move(result);
  }

 private:
  const std::function<TileConfig(std::int64_t)>& given_;
};

class ChosenTile final : public Decision {
 public:
  ChosenTile(const TuningJob& job, const std::vector<Batch>& batches) : plans_(job.backend, job.problem, batches) {}
  Result<BatchResult> of(Tuning& tuning, const std::vector<Batch>& batches, std::size_t index) override {
    const TuningJob& job = tuning.job();
    const Batch& batch = batches[index];
    plans_.wait(index);
    BatchResult result = described(job, batch);
    const CandidateSet& set = plans_.candidates(index);
    for (const Refusal& refusal : set.refused) ++result.refusals[refusal.rule];
    std::vector<TileConfig> wanted = set.candidates;
    if (last_winner_) wanted.push_back(*last_winner_);
    auto done = raced(tuning, batch, std::move(result), wanted);
    if (!done) return fail(done.error());
    const auto challengers = challengers_of(tuning, batch, *done);
    if (!challengers) return fail(challengers.error());
    if (auto status = tuning.settle(batch, *challengers, done->result); !status) return fail(status.error());
    last_winner_ = done->result.tile;
    return std::move(done->result);
  }

 private:
  // Tiles to be written instead of the default, the best first.
  [[nodiscard]] Result<std::vector<Challenger>> challengers_of(Tuning& tuning, const Batch& batch, Raced& done) const {
    const TuningJob& job = tuning.job();
    const std::vector<TileConfig>& tiles = done.tiles;
    const std::size_t winner = done.race.best(position_of_last_winner(tiles));
    std::vector<Challenger> challengers{{tiles[winner]}};
    if (const std::size_t fastest = done.race.best({}); fastest != winner) challengers.push_back({tiles[fastest]});
    if (batch.has_few_rows(job.problem)) {
      if (!job.backend.info().is_gpu()) return challengers;
      const auto nearby = best_nearby(tuning, batch, tiles[0], tiles[winner], done.result);
      if (!nearby) return fail(nearby.error());
      if (*nearby != tiles[winner]) challengers.insert(challengers.begin(), {*nearby});
    } else if (job.routing.kind == Routing::Kind::uniform) {
      const auto steady = best_when_skewed(tuning, batch, done.race, tiles, winner, done.result);
      if (!steady) return fail(steady.error());
      if (*steady == tiles[0]) return std::vector<Challenger>{};
      if (*steady) challengers.insert(challengers.begin(), {**steady, false});
    }
    return challengers;
  }
  [[nodiscard]] std::optional<std::size_t> position_of_last_winner(const std::vector<TileConfig>& tiles) const {
    if (!last_winner_) return std::nullopt;
    const auto found = std::ranges::find(tiles, *last_winner_);
    if (found == tiles.end()) return std::nullopt;
    return static_cast<std::size_t>(found - tiles.begin());
  }

  Plans plans_;
  std::optional<TileConfig> last_winner_;
};

using MakeDecision = std::function<std::unique_ptr<Decision>(const std::vector<Batch>&)>;

Result<std::vector<BatchResult>> decide_all(const TuningJob& job, const TuneOptions& options,
                                            const MakeDecision& make_decision) {
  const auto batches = batches_of(job, options);
  if (!batches) return fail(batches.error());
  auto tuning = Tuning::make(job, options, *batches);
  if (!tuning) return fail(tuning.error());
  const auto decision = make_decision(*batches);
  std::vector<BatchResult> results;
  for (std::size_t i = 0; i < batches->size() && !tuning->measurer().is_stopped(); ++i) {
    auto result = decision->of(*tuning, *batches, i);
    if (!result) return fail(result.error());
    if (tuning->measurer().is_stopped()) break;
    if (options.decided) {
      if (auto status = options.decided(*result); !status) return fail(status.error());
    }
    results.push_back(std::move(*result));
  }
  return results;
}

Result<std::vector<BatchResult>> run(const TuningJob& job, const TuneOptions& options,
                                     const MakeDecision& make_decision) {
  try {
    return decide_all(job, options, make_decision);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::unsupported, "out of memory while tuning; give a smaller problem or batch size");
  }
}

}  // namespace

Result<std::vector<BatchResult>> tune(const TuningJob& job, const TuneOptions& options) {
  return run(job, options, [&](const auto& batches) { return std::make_unique<ChosenTile>(job, batches); });
}

Result<std::vector<BatchResult>> time_default(const TuningJob& job, const TuneOptions& options) {
  return run(job, options, [](const auto&) { return std::make_unique<TimedDefault>(); });
}

Result<std::vector<BatchResult>> time_given(const TuningJob& job, const TuneOptions& options,
                                            const std::function<TileConfig(std::int64_t rows)>& given) {
  return run(job, options, [&](const auto&) { return std::make_unique<TimedTiles>(given); });
}

}  // namespace expertile
