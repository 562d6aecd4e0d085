#include "tune/tuner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "problem/sizes.hpp"
#include "tune/plans.hpp"
#include "tune/race.hpp"
#include "tune/tensors.hpp"

namespace expertile {
namespace {

using Clock = std::chrono::steady_clock;

// Calls so long, in us, are timed by fewer at a time.
constexpr double kLongCall = 1500;
constexpr std::size_t kFewestCalls = 4;
// With uniform routing, tiles that lose no more of the time than this are told apart by how they take skewed routing:
// what is gained there is more, clearly.
constexpr double kSmallLoss = 0.03;
constexpr double kClearGain = 0.01;
constexpr const char* kSkewed = "zipf:1.2";
constexpr std::size_t kMostAlike = 8;     // tiles that are told apart
constexpr double kShareForSkewed = 0.25;  // of the time for a batch size, beyond it
// Where groups have few rows, the model sees no difference between most tiles, so the best ones' neighbours are timed,
// too, and so on for a few steps.
constexpr int kMostSteps = 3;
constexpr double kShareOfAStep = 0.1;  // of the time for a batch size, beyond it
constexpr double kAsGood = 1.03;       // times the best: a place to look around

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// One problem's tuning: what its batch sizes share.
class Tuning {
 public:
  Tuning(const Backend& backend, const Problem& problem, const Routing& routing, const Ceiling& ceiling,
         const TuneOptions& options, const std::function<TileConfig(std::int64_t)>& fixed)
      : backend_(backend),
        problem_(problem),
        routing_(routing),
        ceiling_(ceiling),
        options_(options),
        fixed_(fixed),
        checks_(backend, problem, options.refused) {}

  Status prepare(const std::vector<std::int64_t>& batches) {
    std::int64_t most_rows = 1;
    for (const std::int64_t batch : batches) {
      auto samples = routing_samples(routing_, problem_.experts, problem_.top_k, batch, options_.routing_samples);
      if (!samples) return fail(samples.error());
      for (const RoutingSample& sample : *samples) most_rows = std::max(most_rows, sample.rows());
      auto placed = place(*samples);
      if (!placed) return fail(placed.error());
      samples_.push_back(std::move(*samples));
      routings_.push_back(std::move(*placed));
    }
    const double needed = tensor_bytes(problem_, static_cast<double>(most_rows));
    const auto memory = static_cast<double>(backend_.info().free_memory_bytes);
    if (memory > 0 && needed > memory) {
      return fail(
          ErrorCode::unsupported,
          fmt::format("the tensors need {:.1f} GiB, {} has {:.1f} GiB free; give a smaller problem or batch size",
                      needed / (1 << 30), backend_.info().name, memory / (1 << 30)));
    }
    const int copies = cold_copies(needed);
    for (int copy = 0; copy < copies; ++copy) {
      auto tensors = Tensors::make(backend_, problem_, most_rows, routing_.seed);
      if (!tensors) return fail(tensors.error());
      tensors_.push_back(std::move(*tensors));
    }
    if (!fixed_ && !options_.only_default) {
      std::vector<Load> loads;
      for (const auto& samples : samples_) loads.push_back(mean_load(samples));
      plans_.emplace(backend_, problem_, loads);
    }
    return {};
  }

  // Nothing when the user stopped it.
  Result<std::optional<BatchResult>> decide(std::size_t index, std::int64_t batch) {
    if (plans_) plans_->wait(index);
    BatchResult result = describe(samples_[index], batch);
    result.samples = samples_[index];
    const TileConfig built_in = built_in_tile(problem_, static_cast<std::int64_t>(result.rows), backend_.info());
    const auto prepared = backend_.prepare(problem_, {built_in}, {usual_types(problem_)});
    if (!prepared[0]) return fail(prepared[0].error());
    if (options_.trying) options_.trying(batch, built_in);
    if (const std::string reason = checks_.reason_to_refuse(built_in); !reason.empty()) {
      return fail(ErrorCode::internal, fmt::format("the built-in configuration gives a wrong result: {}", reason));
    }
    std::vector<TileConfig> tiles = contestants(result, index, built_in);
    Race race(tiles.size());
    const auto finished = run(race, tiles, routings_[index], batch, options_.seconds_per_batch, 0);
    if (!finished) return fail(finished.error());
    if (!*finished) return std::optional<BatchResult>{};
    const std::size_t before = result.evidence.size();
    for (std::size_t i = 0; i < tiles.size(); ++i) add_evidence(result, race, i, tiles[i]);
    const auto chosen = choose(race, index, batch, std::span(result.evidence).subspan(before));
    if (!chosen) return fail(chosen.error());
    if (!*chosen) return std::optional<BatchResult>{};
    take(result, race, **chosen, tiles);
    if (looks_around(index)) {
      const auto climbed = climb(result, index, built_in);
      if (!climbed) return fail(climbed.error());
      if (!*climbed) return std::optional<BatchResult>{};
    }
    last_winner_ = result.tile;
    return std::optional<BatchResult>(std::move(result));
  }

 private:
  // Weights that fit the last cache would be timed warm; consecutive calls take turns on so many copies that they are
  // cold.
  [[nodiscard]] int cold_copies(double needed) const {
    const bool is_gpu = backend_.info().is_gpu();
    const double most_bytes = is_gpu ? 0.25 * static_cast<double>(backend_.info().free_memory_bytes) : 1.25 * (1 << 30);
    const double most_copies = is_gpu ? 8 : 4;
    // The weights that the smallest batch size touches.
    const double active = static_cast<double>(samples_.front().front().active_groups());
    const double touched = bytes_moved(problem_, 0, std::max(active, 1.0));
    const double wanted = std::ceil(3.0 * static_cast<double>(last_cache_bytes(backend_.info())) / touched);
    return static_cast<int>(std::clamp(std::min(wanted, most_bytes / needed), 1.0, most_copies));
  }
  [[nodiscard]] Result<std::vector<PlacedRouting>> place(const std::vector<RoutingSample>& samples) const {
    std::vector<PlacedRouting> placed;
    for (const RoutingSample& sample : samples) {
      auto routing = PlacedRouting::make(backend_, sample);
      if (!routing) return fail(routing.error());
      placed.push_back(std::move(*routing));
    }
    return placed;
  }
  // So many calls for one timing, each on another routing sample and copy of the tensors.
  [[nodiscard]] std::vector<GroupedGemmArgs> next_calls(const std::vector<PlacedRouting>& routings, std::size_t round,
                                                        std::size_t count) {
    std::vector<GroupedGemmArgs> calls;
    for (std::size_t i = 0; i < count; ++i) {
      const PlacedRouting& routing = routings[(round * count + i) % routings.size()];
      calls.push_back(tensors_[calls_++ % tensors_.size()].args(routing, routing.rows()));
    }
    return calls;
  }

  [[nodiscard]] BatchResult describe(const std::vector<RoutingSample>& samples, std::int64_t batch) const {
    BatchResult result;
    result.batch = batch;
    const auto [rows, active] = mean_load(samples);
    result.rows = rows;
    result.flops = 2 * result.rows * static_cast<double>(problem_.n) * static_cast<double>(problem_.k);
    result.bytes = bytes_moved(problem_, result.rows, active);
    if (ceiling_.bytes_per_s > 0 && ceiling_.flops_per_s > 0) {
      result.ceiling_us = 1e6 * std::max(result.bytes / ceiling_.bytes_per_s, result.flops / ceiling_.flops_per_s);
    }
    return result;
  }

  // The default first, then the verified candidates; what is refused goes into the result.
  std::vector<TileConfig> contestants(BatchResult& result, std::size_t index, const TileConfig& built_in) {
    std::vector<TileConfig> tiles{built_in};
    if (options_.only_default) return tiles;
    std::vector<TileConfig> wanted;
    if (fixed_) {
      wanted.push_back(fixed_(static_cast<std::int64_t>(result.rows)));
    } else {
      const CandidateSet& set = plans_->candidates(index);
      for (const Refusal& refusal : set.refused) ++result.refusals[refusal.rule];
      wanted = set.candidates;
      if (last_winner_) wanted.push_back(*last_winner_);
    }
    add_usable(tiles, wanted, result);
    return tiles;
  }

  // Those of `wanted` that compile and give right results; what is refused goes into the result.
  void add_usable(std::vector<TileConfig>& tiles, const std::vector<TileConfig>& wanted, BatchResult& result) {
    const auto prepared = backend_.prepare(problem_, wanted, {usual_types(problem_)});
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const TileConfig& tile = wanted[i];
      if (std::find(tiles.begin(), tiles.end(), tile) != tiles.end()) continue;
      if (options_.trying) options_.trying(result.batch, tile);
      std::string refused = prepared[i] ? checks_.reason_to_refuse(tile) : prepared[i].error().message;
      if (refused.empty()) {
        tiles.push_back(tile);
      } else {
        ++result.refusals[prepared[i] ? "wrong result or broken" : "cannot be compiled or loaded"];
        result.evidence.push_back({tile, false, {}, 0, 0, 0, std::move(refused)});
      }
    }
  }

  void add_evidence(BatchResult& result, const Race& race, std::size_t candidate, const TileConfig& tile) {
    result.evidence.push_back(
        {tile, candidate == 0, race.times(candidate), race.median(candidate), checks_.error_over_bound(tile), 0, {}});
  }

  static void take(BatchResult& result, const Race& race, std::size_t winner, const std::vector<TileConfig>& tiles) {
    result.default_us = race.median(0);
    result.tuned_us = race.median(winner);
    result.tile = tiles[winner];
  }

  [[nodiscard]] bool has_few_rows(std::size_t index) const {
    return mean_load(samples_[index]).rows < kFewRows * static_cast<double>(problem_.experts);
  }
  [[nodiscard]] bool looks_around(std::size_t index) const {
    return !fixed_ && !options_.only_default && backend_.info().is_gpu() && has_few_rows(index);
  }

  // The result's tile, and the fastest of another family if it is about as fast.
  static std::vector<TileConfig> places_to_begin(const BatchResult& result) {
    std::vector<TileConfig> places{result.tile};
    const CandidateEvidence* other = nullptr;
    for (const CandidateEvidence& one : result.evidence) {
      if (one.tile.kernel == result.tile.kernel || !one.refused.empty()) continue;
      if (other == nullptr || one.median_us < other->median_us) other = &one;
    }
    if (other != nullptr && other->median_us <= kAsGood * result.tuned_us) places.push_back(other->tile);
    return places;
  }

  // Tiles that may run a batch size, next to these, that have not been tried.
  [[nodiscard]] std::vector<TileConfig> untried_around(const std::vector<TileConfig>& places, std::size_t index,
                                                       const BatchResult& result) const {
    const Load load = mean_load(samples_[index]);
    std::vector<TileConfig> untried;
    for (const TileConfig& place : places) {
      for (const TileConfig& tile :
           neighbours(problem_, place, static_cast<std::int64_t>(load.rows), load.active_groups, backend_.info())) {
        const bool is_known =
            std::ranges::find(result.evidence, tile, &CandidateEvidence::tile) != result.evidence.end();
        if (!is_known) untried.push_back(tile);
      }
    }
    return untried;
  }

  // Goes on from the best tiles to their best neighbour, and from that to its own, and takes what is faster. False when
  // the user stopped it.
  Result<bool> climb(BatchResult& result, std::size_t index, const TileConfig& built_in) {
    std::vector<TileConfig> places = places_to_begin(result);
    for (int step = 0; step < kMostSteps; ++step) {
      std::vector<TileConfig> tiles{built_in};
      if (result.tile != built_in) tiles.push_back(result.tile);
      const std::size_t known = tiles.size();
      add_usable(tiles, untried_around(places, index, result), result);
      if (tiles.size() == known) return true;
      Race race(tiles.size());
      const double seconds = kShareOfAStep * options_.seconds_per_batch;
      const auto finished = run(race, tiles, routings_[index], result.batch, seconds, result.tuned_us);
      if (!finished) return fail(finished.error());
      if (!*finished) return false;
      std::size_t next = known;
      for (std::size_t i = known; i < tiles.size(); ++i) {
        add_evidence(result, race, i, tiles[i]);
        if (race.median(i) < race.median(next)) next = i;
      }
      take(result, race, race.best(known - 1), tiles);
      if (race.median(next) > kAsGood * result.tuned_us) return true;
      places = {tiles[next]};
    }
    return true;
  }

  // Which of a race's tiles to take, whose evidence is given. Nothing when the user stopped it.
  Result<std::optional<std::size_t>> choose(const Race& race, std::size_t index, std::int64_t batch,
                                            std::span<CandidateEvidence> evidence) {
    using Chosen = std::optional<std::size_t>;
    if (fixed_) return Chosen(evidence.size() - 1);
    const std::size_t winner = race.best(position(evidence, last_winner_));
    if (routing_.kind != Routing::Kind::uniform || has_few_rows(index)) return Chosen(winner);
    std::vector<std::size_t> alike = race.about_as_fast_as(winner, kSmallLoss);
    if (alike.size() == 1) return Chosen(winner);
    alike.resize(std::min(alike.size(), kMostAlike));
    std::vector<TileConfig> tiles;
    tiles.reserve(alike.size());
    for (const std::size_t i : alike) tiles.push_back(evidence[i].tile);

    const auto skewed = parse_routing(kSkewed, routing_.seed);
    if (!skewed) return fail(skewed.error());
    const auto samples = routing_samples(*skewed, problem_.experts, problem_.top_k, batch, options_.routing_samples);
    if (!samples) return fail(samples.error());
    const auto placed = place(*samples);
    if (!placed) return fail(placed.error());
    Race again(tiles.size());
    const double seconds = kShareForSkewed * options_.seconds_per_batch;
    const auto finished = run(again, tiles, *placed, batch, seconds, race.median(winner));
    if (!finished) return fail(finished.error());
    if (!*finished) return Chosen();
    std::size_t best = winner;
    double least = -kClearGain;
    for (std::size_t i = 0; i < alike.size(); ++i) {
      evidence[alike[i]].skewed_us = again.median(i);
      const double lost = race.lost(alike[i], winner) + again.lost(i, 0);
      if (lost >= least) continue;
      best = alike[i];
      least = lost;
    }
    return Chosen(best);
  }

  // False when the user stopped it. best_us: so far, 0 for none.
  Result<bool> run(Race& race, const std::vector<TileConfig>& tiles, const std::vector<PlacedRouting>& routings,
                   std::int64_t batch, double seconds, double best_us) {
    const auto start = Clock::now();
    // Every sample of a trace is timed, however long that takes.
    const std::size_t samples = routings.size();
    const std::size_t rounds_owed = routing_.kind == Routing::Kind::trace ? samples : 0;
    std::size_t count = backend_.calls_a_timing();
    const auto warm_up =
        backend_.time_us(problem_, tiles[0], next_calls(routings, 0, count), options_.calls);  // pages, caches, threads
    if (!warm_up) return fail(warm_up.error());
    if (*warm_up > kLongCall) count = std::min(count, std::max(samples, kFewestCalls));
    for (;;) {
      const bool out_of_time = race.rounds() >= rounds_owed && seconds_since(start) > seconds;
      const auto heat = race.next(out_of_time);
      if (!heat) return true;
      if (options_.stop != nullptr && options_.stop->load()) return false;
      if (options_.trying) options_.trying(batch, tiles[heat->candidate]);
      const auto microseconds =
          backend_.time_us(problem_, tiles[heat->candidate], next_calls(routings, heat->round, count), options_.calls);
      if (!microseconds) return fail(microseconds.error());
      race.notify(*heat, *microseconds);
      best_us = best_us == 0 ? *microseconds : std::min(best_us, *microseconds);
      if (options_.progress) options_.progress(batch, tiles[heat->candidate], best_us);
    }
  }

  static std::optional<std::size_t> position(std::span<const CandidateEvidence> evidence,
                                             const std::optional<TileConfig>& tile) {
    if (!tile) return std::nullopt;
    const auto found = std::ranges::find(evidence, *tile, &CandidateEvidence::tile);
    if (found == evidence.end()) return std::nullopt;
    return static_cast<std::size_t>(found - evidence.begin());
  }

  const Backend& backend_;
  const Problem& problem_;
  const Routing& routing_;
  const Ceiling& ceiling_;
  const TuneOptions& options_;
  const std::function<TileConfig(std::int64_t)>& fixed_;
  std::vector<std::vector<RoutingSample>> samples_;   // [batch]
  std::vector<std::vector<PlacedRouting>> routings_;  // [batch], the same where the device reads them
  std::vector<Tensors> tensors_;                      // copies, see cold_copies
  std::size_t calls_ = 0;
  TileChecks checks_;
  std::optional<TileConfig> last_winner_;
  std::optional<Plans> plans_;  // none where nothing is chosen
};

Result<std::vector<BatchResult>> tune_batches(Tuning& tuning, const std::vector<std::int64_t>& batches,
                                              const TuneOptions& options) {
  if (auto status = tuning.prepare(batches); !status) return fail(status.error());
  std::vector<BatchResult> results;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    if (options.stop != nullptr && options.stop->load()) break;
    auto result = tuning.decide(i, batches[i]);
    if (!result) return fail(result.error());
    if (!result->has_value()) break;
    if (options.decided) {
      if (auto status = options.decided(**result); !status) return fail(status.error());
    }
    results.push_back(std::move(**result));
  }
  return results;
}

}  // namespace

Result<std::vector<BatchResult>> tune(const Backend& backend, const Problem& problem, const Routing& routing,
                                      const std::vector<std::int64_t>& batches, const Ceiling& ceiling,
                                      const TuneOptions& options,
                                      const std::function<TileConfig(std::int64_t rows)>& fixed) {
  Tuning tuning(backend, problem, routing, ceiling, options, fixed);
  try {
    return tune_batches(tuning, batches, options);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::unsupported, "out of memory while tuning; give a smaller problem or batch size");
  }
}

}  // namespace expertile
