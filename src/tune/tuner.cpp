#include "tune/tuner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include "problem/sizes.hpp"
#include "tune/race.hpp"
#include "tune/tensors.hpp"
#include "tune/verify.hpp"

namespace expertile {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// One problem's tuning: what its batch sizes share.
class Tuning {
 public:
  Tuning(const Backend& backend, const Problem& problem, const Routing& routing, const Ceiling& ceiling,
         const TuneOptions& options, const std::function<TileConfig(std::int64_t)>& fixed)
      : backend_(backend), problem_(problem), routing_(routing), ceiling_(ceiling), options_(options), fixed_(fixed) {}

  Status prepare(const std::vector<std::int64_t>& batches) {
    std::int64_t most_rows = 1;
    for (const std::int64_t batch : batches) {
      auto samples = routing_samples(routing_, problem_.experts, problem_.top_k, batch, options_.routing_samples);
      if (!samples) return fail(samples.error());
      for (const RoutingSample& sample : *samples) most_rows = std::max(most_rows, sample.rows());
      samples_.push_back(std::move(*samples));
    }
    const double needed = tensor_bytes(problem_, static_cast<double>(most_rows));
    const auto memory = static_cast<double>(backend_.info().memory_bytes);
    if (memory > 0 && needed > memory) {
      return fail(
          ErrorCode::unsupported,
          fmt::format("the tensors need {:.1f} GiB, {} has {:.1f} GiB free; give a smaller problem or batch size",
                      needed / (1 << 30), backend_.info().name, memory / (1 << 30)));
    }
    for (int copy = 0; copy < cold_copies(needed); ++copy) {
      tensors_.push_back(std::make_unique<Tensors>(problem_, most_rows, routing_.seed));
    }
    return {};
  }

  // Nothing when the user stopped it.
  Result<std::optional<BatchResult>> decide(std::size_t index, std::int64_t batch) {
    BatchResult result = describe(samples_[index], batch);
    const TileConfig built_in = built_in_tile(problem_, static_cast<std::int64_t>(result.rows), backend_.info());
    if (const std::string reason = reason_to_refuse(built_in); !reason.empty()) {
      return fail(ErrorCode::internal, fmt::format("the built-in configuration gives a wrong result: {}", reason));
    }
    std::vector<TileConfig> tiles = contestants(result, samples_[index]);
    Race race(tiles.size());
    if (!run(race, tiles, index, batch)) return std::optional<BatchResult>{};
    const std::size_t winner = fixed_ ? tiles.size() - 1 : race.best(position(tiles, last_winner_));
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      result.evidence.push_back({tiles[i], i == 0, race.times(i), race.median(i), verified_error(tiles[i]), {}});
    }
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
    constexpr double kMostBytes = double{1 << 30} + double{1 << 28};
    constexpr int kMostCopies = 4;
    const double weights = tensor_bytes(problem_, 0);
    const double wanted = std::ceil(3.0 * static_cast<double>(backend_.info().l3_bytes) / weights);
    return static_cast<int>(std::clamp(std::min(wanted, kMostBytes / needed), 1.0, double{kMostCopies}));
  }
  Tensors& next_tensors() { return *tensors_[calls_++ % tensors_.size()]; }

  [[nodiscard]] BatchResult describe(const std::vector<RoutingSample>& samples, std::int64_t batch) const {
    BatchResult result;
    result.batch = batch;
    const auto count = static_cast<double>(samples.size());
    double active = 0;
    for (const RoutingSample& sample : samples) {
      result.rows += static_cast<double>(sample.rows()) / count;
      active += static_cast<double>(sample.active_groups()) / count;
    }
    result.flops = 2 * result.rows * static_cast<double>(problem_.n) * static_cast<double>(problem_.k);
    result.bytes = bytes_moved(problem_, result.rows, active);
    if (ceiling_.bytes_per_s > 0 && ceiling_.flops_per_s > 0) {
      result.ceiling_us = 1e6 * std::max(result.bytes / ceiling_.bytes_per_s, result.flops / ceiling_.flops_per_s);
    }
    return result;
  }

  // The default first, then the verified candidates; what is refused goes into the result.
  std::vector<TileConfig> contestants(BatchResult& result, const std::vector<RoutingSample>& samples) {
    const auto rows = static_cast<std::int64_t>(result.rows);
    std::vector<TileConfig> tiles{built_in_tile(problem_, rows, backend_.info())};
    if (options_.only_default) return tiles;
    std::vector<TileConfig> wanted;
    if (fixed_) {
      wanted.push_back(fixed_(rows));
    } else {
      double active = 0;
      for (const RoutingSample& sample : samples) active += static_cast<double>(sample.active_groups());
      CandidateSet set = make_candidates(problem_, rows, active / static_cast<double>(samples.size()), backend_.info());
      for (const Refusal& refusal : set.refused) ++result.refusals[refusal.rule];
      wanted = std::move(set.candidates);
      if (last_winner_) wanted.push_back(*last_winner_);
    }
    for (const TileConfig& tile : wanted) {
      if (std::find(tiles.begin(), tiles.end(), tile) != tiles.end()) continue;
      std::string refused = reason_to_refuse(tile);
      if (refused.empty()) {
        tiles.push_back(tile);
      } else {
        ++result.refusals["wrong result"];
        result.evidence.push_back({tile, false, {}, 0, verified_error(tile), std::move(refused)});
      }
    }
    return tiles;
  }

  [[nodiscard]] std::string reason_to_refuse(const TileConfig& tile) {
    if (auto status = check_tile(problem_, tile, backend_.info()); !status) return status.error().message;
    const double error = verified_error(tile);
    if (error <= 1) return {};
    return fmt::format("{}: its error is {:.3g} times the bound", expertile::describe(tile), error);
  }

  double verified_error(const TileConfig& tile) {
    for (const auto& [known, error] : verified_) {
      if (known == tile) return error;
    }
    verified_.emplace_back(tile, verify_tile(backend_, problem_, tile));
    return verified_.back().second;
  }

  // False when the user stopped it.
  bool run(Race& race, const std::vector<TileConfig>& tiles, std::size_t index, std::int64_t batch) {
    auto& samples = samples_[index];
    const auto start = Clock::now();
    double best_us = 0;
    // Every sample of a trace is timed, however long that takes.
    const std::size_t rounds_owed = routing_.kind == Routing::Kind::trace ? samples.size() : 0;
    backend_.run(problem_, tiles[0], next_tensors().args(samples[0]));  // pages, caches, threads
    for (;;) {
      const bool out_of_time = race.rounds() >= rounds_owed && seconds_since(start) > options_.seconds_per_batch;
      const auto heat = race.next(out_of_time);
      if (!heat) return true;
      if (options_.stop != nullptr && options_.stop->load()) return false;
      const GroupedGemmArgs args = next_tensors().args(samples[heat->round % samples.size()]);
      const auto before = Clock::now();
      backend_.run(problem_, tiles[heat->candidate], args);
      const double microseconds = 1e6 * seconds_since(before);
      race.notify(*heat, microseconds);
      best_us = best_us == 0 ? microseconds : std::min(best_us, microseconds);
      if (options_.progress) options_.progress(batch, tiles[heat->candidate], best_us);
    }
  }

  static std::optional<std::size_t> position(const std::vector<TileConfig>& tiles,
                                             const std::optional<TileConfig>& tile) {
    if (!tile) return std::nullopt;
    const auto found = std::find(tiles.begin(), tiles.end(), *tile);
    if (found == tiles.end()) return std::nullopt;
    return static_cast<std::size_t>(found - tiles.begin());
  }

  const Backend& backend_;
  const Problem& problem_;
  const Routing& routing_;
  const Ceiling& ceiling_;
  const TuneOptions& options_;
  const std::function<TileConfig(std::int64_t)>& fixed_;
  std::vector<std::vector<RoutingSample>> samples_;  // [batch]
  std::vector<std::unique_ptr<Tensors>> tensors_;    // copies, see cold_copies
  std::size_t calls_ = 0;
  std::vector<std::pair<TileConfig, double>> verified_;
  std::optional<TileConfig> last_winner_;
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
