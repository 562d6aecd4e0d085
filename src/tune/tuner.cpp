#include "tune/tuner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <exception>
#include <future>
#include <optional>
#include <span>
#include <utility>

#include "problem/sizes.hpp"
#include "tune/race.hpp"
#include "tune/tensors.hpp"
#include "tune/verify.hpp"

namespace expertile {
namespace {

using Clock = std::chrono::steady_clock;

// Calls so long, in us, are timed by fewer at a time.
constexpr double kLongCall = 1500;
constexpr std::size_t kFewestCalls = 4;
// With uniform routing, tiles that lose no more of the time than this are told apart by how they take skewed routing:
// what is gained there is at least as much.
constexpr double kSmallLoss = 0.01;
constexpr const char* kSkewed = "zipf:1.2";
constexpr double kRowsOfAGroup = 32;      // from which on skewed routing is another task
constexpr std::size_t kMostAlike = 6;     // tiles that are told apart
constexpr double kShareForSkewed = 0.25;  // of the time for a batch size, beyond it

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Load {
  double rows = 0;
  double active_groups = 0;
};
Load mean_load(const std::vector<RoutingSample>& samples) {
  Load mean;
  const auto count = static_cast<double>(samples.size());
  for (const RoutingSample& sample : samples) {
    mean.rows += static_cast<double>(sample.rows()) / count;
    mean.active_groups += static_cast<double>(sample.active_groups()) / count;
  }
  return mean;
}

// One problem's tuning: what its batch sizes share.
class Tuning {
 public:
  Tuning(const Backend& backend, const Problem& problem, const Routing& routing, const Ceiling& ceiling,
         const TuneOptions& options, const std::function<TileConfig(std::int64_t)>& fixed)
      : backend_(backend), problem_(problem), routing_(routing), ceiling_(ceiling), options_(options), fixed_(fixed) {}
  ~Tuning() { is_over_ = true; }
  Tuning(const Tuning&) = delete;
  Tuning& operator=(const Tuning&) = delete;

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
    const auto memory = static_cast<double>(backend_.info().memory_bytes);
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
    if (!fixed_ && !options_.only_default) plan();
    return {};
  }

  // Nothing when the user stopped it.
  Result<std::optional<BatchResult>> decide(std::size_t index, std::int64_t batch) {
    if (!plans_.empty()) plans_[index].is_compiled.get_future().get();
    BatchResult result = describe(samples_[index], batch);
    result.samples = samples_[index];
    const TileConfig built_in = built_in_tile(problem_, static_cast<std::int64_t>(result.rows), backend_.info());
    const auto prepared = backend_.prepare(problem_, {built_in}, {usual_types(problem_)});
    if (!prepared[0]) return fail(prepared[0].error());
    if (options_.trying) options_.trying(batch, built_in);
    if (const std::string reason = reason_to_refuse(built_in); !reason.empty()) {
      return fail(ErrorCode::internal, fmt::format("the built-in configuration gives a wrong result: {}", reason));
    }
    std::vector<TileConfig> tiles = contestants(result, index, built_in);
    Race race(tiles.size());
    const auto finished = run(race, tiles, routings_[index], batch, options_.seconds_per_batch, 0);
    if (!finished) return fail(finished.error());
    if (!*finished) return std::optional<BatchResult>{};
    const std::size_t before = result.evidence.size();
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      result.evidence.push_back(
          {tiles[i], i == 0, race.times(i), race.median(i), verified_error(tiles[i]).value_or(0), 0, {}});
    }
    const auto chosen = choose(race, index, batch, std::span(result.evidence).subspan(before));
    if (!chosen) return fail(chosen.error());
    if (!*chosen) return std::optional<BatchResult>{};
    const std::size_t winner = **chosen;
    result.default_us = race.median(0);
    result.tuned_us = race.median(winner);
    result.tile = tiles[winner];
    last_winner_ = tiles[winner];
    return std::optional<BatchResult>(std::move(result));
  }

 private:
  // Weights that fit the last cache would be timed warm; consecutive calls take turns on so many copies that they are
  // cold.
  [[nodiscard]] int cold_copies(double needed) const {
    const bool is_gpu = backend_.info().kind == "cuda";
    const double most_bytes = is_gpu ? 0.25 * static_cast<double>(backend_.info().memory_bytes) : 1.25 * (1 << 30);
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

  // What the model would measure for each batch size. Kernels are compiled from here on, in that order, while earlier
  // batch sizes are verified and timed. Two at a time, since each ends with a slow kernel that keeps few processors
  // busy.
  void plan() {
    std::vector<TileConfig> known;
    for (const auto& samples : samples_) {
      const auto [mean_rows, active] = mean_load(samples);
      const auto rows = static_cast<std::int64_t>(mean_rows);
      Plan plan{make_candidates(problem_, rows, active, backend_.info()), {}, {}};
      std::vector<TileConfig> tiles{built_in_tile(problem_, rows, backend_.info())};
      tiles.insert(tiles.end(), plan.set.candidates.begin(), plan.set.candidates.end());
      for (const TileConfig& tile : tiles) {
        if (std::find(known.begin(), known.end(), tile) != known.end()) continue;
        known.push_back(tile);
        plan.new_tiles.push_back(tile);
      }
      plans_.push_back(std::move(plan));
    }
    for (std::future<void>& task : ahead_) task = std::async(std::launch::async, [this] { compile_plans(); });
  }

  // By each of the tasks: the plans that none has begun with.
  void compile_plans() {
    for (std::size_t i = next_plan_++; i < plans_.size(); i = next_plan_++) {
      try {
        if (!is_over_) backend_.compile_ahead(problem_, plans_[i].new_tiles, usual_types(problem_));
        plans_[i].is_compiled.set_value();
      } catch (...) {
        plans_[i].is_compiled.set_exception(std::current_exception());
      }
    }
  }

  // The default first, then the verified candidates; what is refused goes into the result.
  std::vector<TileConfig> contestants(BatchResult& result, std::size_t index, const TileConfig& built_in) {
    std::vector<TileConfig> tiles{built_in};
    if (options_.only_default) return tiles;
    std::vector<TileConfig> wanted;
    if (fixed_) {
      wanted.push_back(fixed_(static_cast<std::int64_t>(result.rows)));
    } else {
      for (const Refusal& refusal : plans_[index].set.refused) ++result.refusals[refusal.rule];
      wanted = plans_[index].set.candidates;
      if (last_winner_) wanted.push_back(*last_winner_);
    }
    const auto prepared = backend_.prepare(problem_, wanted, {usual_types(problem_)});
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const TileConfig& tile = wanted[i];
      if (std::find(tiles.begin(), tiles.end(), tile) != tiles.end()) continue;
      if (options_.trying) options_.trying(result.batch, tile);
      std::string refused = prepared[i] ? reason_to_refuse(tile) : prepared[i].error().message;
      if (refused.empty()) {
        tiles.push_back(tile);
      } else {
        ++result.refusals[prepared[i] ? "wrong result or broken" : "cannot be compiled or loaded"];
        result.evidence.push_back({tile, false, {}, 0, 0, 0, std::move(refused)});
      }
    }
    return tiles;
  }

  [[nodiscard]] std::string reason_to_refuse(const TileConfig& tile) {
    if (auto status = check_tile(problem_, tile, backend_.info()); !status) return status.error().message;
    for (const RefusedTile& one : options_.refused) {
      if (one.tile == tile) return one.reason;
    }
    const auto error = verified_error(tile);
    if (!error) return error.error().message;
    if (*error <= 1) return {};
    return fmt::format("{}: its error is {:.3g} times the bound", expertile::describe(tile), *error);
  }

  Result<double> verified_error(const TileConfig& tile) {
    for (const auto& [known, error] : verified_) {
      if (known == tile) return error;
    }
    verified_.emplace_back(tile, verify_tile(backend_, problem_, tile));
    return verified_.back().second;
  }

  [[nodiscard]] bool asks_skewed_routing(const std::vector<RoutingSample>& samples) const {
    if (routing_.kind != Routing::Kind::uniform) return false;
    return mean_load(samples).rows >= kRowsOfAGroup * static_cast<double>(problem_.experts);
  }

  // Which of a race's tiles to take, whose evidence is given. Nothing when the user stopped it.
  Result<std::optional<std::size_t>> choose(const Race& race, std::size_t index, std::int64_t batch,
                                            std::span<CandidateEvidence> evidence) {
    using Chosen = std::optional<std::size_t>;
    if (fixed_) return Chosen(evidence.size() - 1);
    const std::size_t winner = race.best(position(evidence, last_winner_));
    if (!asks_skewed_routing(samples_[index])) return Chosen(winner);
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
    Race again(tiles.size(), kSmallLoss);  // the winner keeps its place where no other is clearly faster
    const double seconds = kShareForSkewed * options_.seconds_per_batch;
    const auto finished = run(again, tiles, *placed, batch, seconds, race.median(winner));
    if (!finished) return fail(finished.error());
    if (!*finished) return Chosen();
    for (std::size_t i = 0; i < alike.size(); ++i) evidence[alike[i]].skewed_us = again.median(i);
    return Chosen(alike[again.best(std::nullopt)]);
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
  std::vector<std::pair<TileConfig, Result<double>>> verified_;
  std::optional<TileConfig> last_winner_;
  struct Plan {
    CandidateSet set;
    std::vector<TileConfig> new_tiles;  // with the default, without those of earlier batch sizes
    std::promise<void> is_compiled;
  };
  std::vector<Plan> plans_;  // [batch]; none where nothing is chosen
  std::atomic<std::size_t> next_plan_{0};
  std::atomic<bool> is_over_{false};
  std::array<std::future<void>, 2> ahead_;  // last: they have ended before anything that they use goes
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
