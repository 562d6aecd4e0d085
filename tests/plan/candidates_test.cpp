#include "plan/candidates.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace expertile {
namespace {

DeviceInfo device() {
  DeviceInfo info;
  info.kind = "cpu";
  info.name = "Test_CPU";
  info.threads = 2;
  return info;
}

TEST(Candidates, AreFewDifferentAndRunnable) {
  const Problem problem;
  const CandidateSet set = make_candidates(problem, 512, 8, device());
  ASSERT_GE(set.candidates.size(), 4U);
  ASSERT_LE(set.candidates.size(), 10U);
  for (const TileConfig& tile : set.candidates) {
    EXPECT_TRUE(check_tile(problem, tile, device()));
    EXPECT_EQ(std::count(set.candidates.begin(), set.candidates.end(), tile), 1);
  }
}

TEST(Candidates, EveryRefusalCarriesItsReasonWithValues) {
  const CandidateSet set = make_candidates(Problem{}, 16, 8, device());
  ASSERT_FALSE(set.refused.empty());
  for (const Refusal& refusal : set.refused) {
    EXPECT_FALSE(refusal.rule.empty());
    EXPECT_NE(refusal.reason.find_first_of("0123456789"), std::string::npos) << refusal.reason;
  }
}

TEST(BuiltInTile, RunsAnyProblem) {
  std::mt19937_64 generator(1);
  for (int i = 0; i < 1000; ++i) {
    Problem problem;
    problem.experts = 1 + static_cast<std::int64_t>(generator() % 300);
    problem.n = 1 + static_cast<std::int64_t>(generator() % 30000);
    problem.k = 1 + static_cast<std::int64_t>(generator() % 30000);
    const TileConfig tile = built_in_tile(problem, static_cast<std::int64_t>(generator() % 100000), device());
    const Status status = check_tile(problem, tile, device());
    ASSERT_TRUE(status) << status.error().message;
  }
}

TEST(CheckTile, SaysWhichFieldIsImpossible) {
  EXPECT_EQ(check_tile(Problem{}, TileConfig{.block_size_m = 5000}, device()).error().message,
            "BLOCK_SIZE_M=5000 must be from 1 to 4096");
  EXPECT_EQ(
      check_tile(Problem{}, TileConfig{.block_size_m = 4096, .block_size_n = 4096}, device()).error().message,
      "BLOCK_SIZE_M=4096, BLOCK_SIZE_N=4096, BLOCK_SIZE_K=512, GROUP_SIZE_M=1 needs 145 MiB of scratch a thread, at "
      "most 64 MiB is allowed");
}

}  // namespace
}  // namespace expertile
