// Tunings whose times are made up, on machines that are not steady.

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "plan/candidates.hpp"
#include "tune/changed_backend.hpp"
#include "tune/tuner.hpp"

namespace expertile {
namespace {

using testing::ChangedBackend;

const Routing kUniform;
const Problem kProblem{.experts = 4, .n = 96, .k = 128, .dtype = DType::bfloat16, .top_k = 1};

// In truth every tile takes 100 us, but for one that may be faster; the rest is noise, and bursts of other work.
class NoisyMachine final : public ChangedBackend {
 public:
  struct Noise {
    double deviation = 0;
    double bursts = 0;  // the share of timings that take longer, up to `longest` times
    double longest = 80;
  };
  NoisyMachine(const Noise& noise, std::uint64_t seed, TileConfig faster = {}, double faster_us = 100)
      : noise_(noise), generator_(seed), faster_(faster), faster_us_(faster_us) {}
  [[nodiscard]] Result<double> time_us(const CallPlan& plan, std::span<const GroupedGemmArgs>, Calls) const override {
    std::normal_distribution<double> normal(0, noise_.deviation);
    std::uniform_real_distribution<double> chance;
    const double truth = plan.tile() == faster_ ? faster_us_ : 100;
    const double burst = chance(generator_) < noise_.bursts ? 1 + noise_.longest * chance(generator_) : 1;
    return truth * std::exp(normal(generator_)) * burst;
  }

 private:
  Noise noise_;
  mutable std::mt19937_64 generator_;
  TileConfig faster_;
  double faster_us_;
};

TuneOptions steady(double seconds) {
  TuneOptions options;
  options.seconds_per_batch = seconds;
  options.seconds_waited = [] { return 0.0; };
  return options;
}

std::vector<BatchResult> tuned(const Backend& backend, const std::vector<std::int64_t>& batches,
                               const TuneOptions& options) {
  const auto results = tune({backend, kProblem, kUniform, batches, {}}, options);
  EXPECT_TRUE(results) << results.error().message;
  return results.value_or(std::vector<BatchResult>{});
}

std::vector<std::int64_t> many_batches() {
  std::vector<std::int64_t> batches;
  for (std::int64_t size = 1; size <= 100; ++size) batches.push_back(3 * size);
  return batches;
}

TEST(NoisyTuning, WhereAllTilesAreAlikeTheDefaultIsWritten) {
  int others = 0;
  for (const double deviation : {0.002, 0.01, 0.05, 0.3}) {
    const NoisyMachine machine({.deviation = deviation}, 11);
    for (const BatchResult& result : tuned(machine, many_batches(), steady(0.05))) {
      const bool is_default = result.tile == built_in_tile(kProblem, result.batch, machine.info());
      others += is_default ? 0 : 1;
      if (is_default) {
        EXPECT_EQ(result.tuned_us, result.default_us);
        EXPECT_EQ(result.ratio, 1.0);
      }
    }
  }
  EXPECT_LE(others, 2);  // of 400
}

TEST(NoisyTuning, ATileThatIsChosenIsNeverShownSlowerThanTheDefault) {
  int chosen = 0;
  for (const double faster_us : {99.0, 98.0, 95.0, 80.0}) {
    const auto device = ChangedBackend().info();
    const TileConfig faster = make_candidates(kProblem, 48, 4, device).candidates.back();
    const NoisyMachine machine({.deviation = 0.03, .bursts = 0.05}, 12, faster, faster_us);
    for (const BatchResult& result : tuned(machine, many_batches(), steady(0.05))) {
      if (result.tile == built_in_tile(kProblem, result.batch, machine.info())) continue;
      ++chosen;
      EXPECT_LT(result.tuned_us, result.default_us) << result.batch;
      EXPECT_GT(result.ratio, 1.0);
      EXPECT_GT(1 - 1 / result.ratio, result.noise);
    }
  }
  EXPECT_GE(chosen, 20);  // where it is a candidate at all
}

TEST(NoisyTuning, AClearGainIsFoundBesideBurstsAndTwoRunsAgree) {
  const auto device = ChangedBackend().info();
  for (const TileConfig& tile : make_candidates(kProblem, 48, 4, device).candidates) {
    if (tile == built_in_tile(kProblem, 48, device)) continue;
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const NoisyMachine machine({.deviation = 0.01, .bursts = 0.03}, seed, tile, 50);
      EXPECT_EQ(tuned(machine, {48}, steady(0.5)).front().tile, tile) << describe(tile);
    }
    break;
  }
}

TEST(NoisyTuning, SaysHowMuchTimingsVaryAndThatTheMachineIsBusy) {
  const NoisyMachine quiet({.deviation = 0.01}, 5);
  const BatchResult calm = tuned(quiet, {48}, steady(0.1)).front();
  EXPECT_LT(calm.spread, 0.05);
  EXPECT_LT(calm.noise, 0.05);
  EXPECT_FALSE(calm.is_unsteady());

  const NoisyMachine busy({.deviation = 0.01, .bursts = 0.5}, 5);
  const BatchResult disturbed = tuned(busy, {48}, steady(0.1)).front();
  EXPECT_GT(disturbed.spread, 0.5);
  EXPECT_TRUE(disturbed.is_unsteady());
  EXPECT_EQ(disturbed.tile, built_in_tile(kProblem, 48, busy.info()));
}

TEST(NoisyTuning, ThreadsThatWaitForProcessorsAreABusyMachineEvenWhereTimingsAgree) {
  const NoisyMachine machine({.deviation = 0.01}, 5);
  TuneOptions options = steady(0.1);
  double waited = 0;
  options.seconds_waited = [&] { return waited += 10; };  // an hour of waiting in a moment
  const BatchResult result = tuned(machine, {48}, options).front();
  EXPECT_EQ(result.waited, 1.0);
  EXPECT_TRUE(result.is_unsteady());
}

TEST(NoisyTuning, OnABusyMachineAGainSmallerThanTimingsVaryKeepsTheDefault) {
  const auto device = ChangedBackend().info();
  for (const TileConfig& tile : make_candidates(kProblem, 48, 4, device).candidates) {
    if (tile == built_in_tile(kProblem, 48, device)) continue;
    const NoisyMachine machine({.deviation = 0.01, .bursts = 0.5}, 1, tile, 90);
    const BatchResult result = tuned(machine, {48}, steady(0.5)).front();
    EXPECT_TRUE(result.is_unsteady());
    EXPECT_NE(result.tile, tile) << result.spread;
    break;
  }
}

}  // namespace
}  // namespace expertile
