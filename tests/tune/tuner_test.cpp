// The coordinator with a backend that can be told to be wrong.

#include "tune/tuner.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "plan/candidates.hpp"
#include "support/devices.hpp"
#include "tune/changed_backend.hpp"

namespace expertile {
namespace {

using testing::ChangedBackend;
using testing::wrong_for_block_size_m;

const Routing kUniform;
const Problem kProblem{.experts = 4, .n = 96, .k = 128, .dtype = DType::bfloat16, .top_k = 2};

// Times that are made up: `steady` takes a little longer than `quick`, all others ten times as long; but where an
// expert has more than two of five rows, `quick` takes longer.
class MadeUpTimes final : public ChangedBackend {
 public:
  MadeUpTimes(TileConfig quick, TileConfig steady) : quick_(quick), steady_(steady) {}
  [[nodiscard]] Result<double> time_us(const CallPlan& plan, std::span<const GroupedGemmArgs> calls,
                                       Calls) const override {
    std::int64_t most = 0;
    for (std::int64_t i = 0; i < plan.problem().experts; ++i) {
      const auto* begins = calls.front().seg_indptr.data();
      most = std::max(most, begins[i + 1] - begins[i]);
    }
    const bool is_skewed = 5 * most > 2 * calls.front().a.rows;
    if (plan.tile() == quick_) return is_skewed ? 300.0 : 100.0;
    if (plan.tile() == steady_) return is_skewed ? 200.0 : 100.6;
    return 1000.0;
  }

 private:
  TileConfig quick_;
  TileConfig steady_;
};

// A GPU whose results come from the CPU, and whose times get less towards one tile, number by number.
class MadeUpGpu final : public ChangedBackend {
 public:
  explicit MadeUpGpu(TileConfig fastest) : device_(testing::a_gpu("sm_80")), fastest_(fastest) {}
  [[nodiscard]] const DeviceInfo& info() const noexcept override { return device_; }
  [[nodiscard]] Status run(const CallPlan& plan, const GroupedGemmArgs& args) const override {
    return ChangedBackend::run(CallPlan(plan.problem(), TileConfig{}), args);
  }
  [[nodiscard]] Result<double> time_us(const CallPlan& plan, std::span<const GroupedGemmArgs>, Calls) const override {
    const TileConfig& tile = plan.tile();
    const int differences =
        (tile.block_size_m != fastest_.block_size_m ? 3 : 0) + (tile.block_size_n != fastest_.block_size_n ? 1 : 0) +
        (tile.num_warps != fastest_.num_warps ? 1 : 0) + (tile.num_stages != fastest_.num_stages ? 1 : 0) +
        (tile.split_k != fastest_.split_k ? 1 : 0);
    return 100.0 + differences;
  }

 private:
  DeviceInfo device_;
  TileConfig fastest_;
};

TuneOptions quick() {
  TuneOptions options;
  options.seconds_per_batch = 0;
  return options;
}

TEST(Tune, NeverChoosesACandidateThatIsWrong) {
  const ChangedBackend backend(wrong_for_block_size_m(4));  // not the built-in tile of either batch size
  const auto results = tune({backend, kProblem, kUniform, {16, 64}, {}}, quick());
  ASSERT_TRUE(results) << results.error().message;
  ASSERT_EQ(results->size(), 2U);
  int refused = 0;
  for (const BatchResult& result : *results) {
    EXPECT_NE(result.tile.block_size_m, 4);
    for (const CandidateEvidence& one : result.evidence) refused += one.refused.empty() ? 0 : 1;
  }
  EXPECT_GT(refused, 0);
}

TEST(Tune, StopsWhenTheBuiltInTileItselfIsWrong) {
  const int broken = built_in_tile(kProblem, 32, (*open_backend("cpu", 2))->info()).block_size_m;
  const ChangedBackend backend(wrong_for_block_size_m(broken));
  const auto results = tune({backend, kProblem, kUniform, {16}, {}}, quick());
  ASSERT_FALSE(results);
  EXPECT_EQ(results.error().code, ErrorCode::internal);
}

TEST(Tune, ReportsEachBatchSizeAsSoonAsItIsDecidedAndStopsWhenTold) {
  const ChangedBackend backend;
  std::atomic<bool> stop{false};
  std::vector<std::int64_t> decided;
  TuneOptions options = quick();
  options.is_stopped = [&] { return stop.load(); };
  options.decided = [&](const BatchResult& result) -> Status {
    decided.push_back(result.batch);
    stop = true;
    return {};
  };
  const auto results = tune({backend, kProblem, kUniform, {1, 2, 4}, {}}, options);
  ASSERT_TRUE(results);
  EXPECT_EQ(decided, std::vector<std::int64_t>{1});
  EXPECT_EQ(results->size(), 1U);
}

TEST(Tune, TimesOnlyTheDefaultWhenAsked) {
  const ChangedBackend backend;
  const auto results = time_default({backend, kProblem, kUniform, {4}, {}}, quick());
  ASSERT_TRUE(results);
  EXPECT_EQ(results->front().evidence.size(), 1U);
  EXPECT_EQ(results->front().tuned_us, results->front().default_us);
}

TEST(Tune, TellsTilesThatAreAlikeApartBySkewedRoutingWhereNoRoutingIsKnown) {
  Problem problem = kProblem;
  problem.top_k = 1;
  const auto device = (*open_backend("cpu", 2))->info();
  const CandidateSet set = make_candidates(problem, 256, 4, device);
  std::vector<TileConfig> tiles;
  for (const TileConfig& tile : set.candidates) {
    if (tile != built_in_tile(problem, 256, device)) tiles.push_back(tile);
  }
  ASSERT_GE(tiles.size(), 2U);
  const MadeUpTimes backend(tiles[0], tiles[1]);
  TuneOptions options;
  options.seconds_per_batch = 0.1;
  const auto chosen = [&](const Routing& routing) {
    const auto results = tune({backend, problem, routing, {256}, {}}, options);
    return results ? results->front() : BatchResult{};
  };
  const BatchResult of_any = chosen(Routing{});
  EXPECT_EQ(of_any.tile, tiles[1]);
  EXPECT_EQ(of_any.tuned_us, 100.6);
  for (const CandidateEvidence& one : of_any.evidence) {
    EXPECT_EQ(one.skewed_us, one.tile == tiles[0] ? 300.0 : one.tile == tiles[1] ? 200.0 : 0.0);
  }
  EXPECT_EQ(chosen(*parse_routing("zipf:0.01", 0)).tile, tiles[0]);  // what was asked for decides alone
}

// The tile of few rows that the model lists last or not at all.
TileConfig unlisted_tile(const Problem& problem, std::int64_t rows) {
  const CandidateSet set = make_candidates(problem, rows, 4, testing::a_gpu("sm_80"));
  for (const Refusal& refusal : set.refused) {
    const TileConfig& tile = refusal.tile;
    if (refusal.rule == "resembles a better candidate" && tile.block_size_m == 8 && tile.num_stages == 2) return tile;
  }
  return {};
}

TEST(Tune, LooksAroundTheBestTilesOfFewRows) {
  Problem problem = kProblem;
  problem.n = 512;
  problem.k = 1024;
  const TileConfig fastest = unlisted_tile(problem, 8);
  ASSERT_EQ(fastest.block_size_m, 8);
  const CandidateSet set = make_candidates(problem, 8, 4, testing::a_gpu("sm_80"));
  ASSERT_EQ(std::ranges::count(set.candidates, fastest), 0);
  const MadeUpGpu backend(fastest);
  const auto results = tune({backend, problem, kUniform, {4}, {}}, quick());
  ASSERT_TRUE(results) << results.error().message;
  const BatchResult& result = results->front();
  EXPECT_EQ(result.tile, fastest) << describe(result.tile);
  EXPECT_EQ(result.tuned_us, 100);
  EXPECT_GT(result.default_us, 100);
  for (const CandidateEvidence& one : result.evidence) {
    EXPECT_EQ(std::ranges::count(result.evidence, one.tile, &CandidateEvidence::tile), 1) << describe(one.tile);
  }
}

TEST(Tune, DoesNotLookAroundWhereThereAreManyRowsOrATileIsGiven) {
  const TileConfig fastest = unlisted_tile(kProblem, 8);
  const MadeUpGpu backend(fastest);
  const std::size_t listed = make_candidates(kProblem, 512, 4, testing::a_gpu("sm_80")).candidates.size();
  const auto many = tune({backend, kProblem, kUniform, {256}, {}}, quick());
  ASSERT_TRUE(many) << many.error().message;
  EXPECT_LE(many->front().evidence.size(), listed + 1);
  const auto given = [](std::int64_t) { return built_in_tile(kProblem, 8, testing::a_gpu("sm_80")); };
  const auto timed = time_given({backend, kProblem, kUniform, {4}, {}}, quick(), given);
  ASSERT_TRUE(timed) << timed.error().message;
  EXPECT_EQ(timed->front().evidence.size(), 1U);
}

TEST(Tune, RefusesTensorsThatDoNotFitTheMemory) {
  const ChangedBackend backend;
  Problem huge = kProblem;
  huge.experts = 1 << 20;
  huge.n = 1 << 20;
  const auto results = tune({backend, huge, kUniform, {1}, {}}, quick());
  ASSERT_FALSE(results);
  EXPECT_EQ(results.error().code, ErrorCode::unsupported);
}

}  // namespace
}  // namespace expertile
