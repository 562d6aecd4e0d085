// Groups that cannot be right, on a real GPU: they are skipped, all others are right, and the device goes on.

#include <gtest/gtest.h>

#include <vector>

#include "backend/on_gpu.hpp"
#include "plan/candidates.hpp"
#include "support/broken_groups.hpp"
#include "support/placed_problem.hpp"

namespace expertile::testing {
namespace {

// What a call with these groups leaves in C.
std::vector<std::byte> multiplied(const TileConfig& tile, RandomProblem& random, const Groups& groups) {
  random.poison();
  const Groups right = groups_of(random);
  random.segments = groups.segments;
  random.experts = groups.experts;
  {
    PlacedProblem placed(**gpu(), random);
    const auto status = placed.run(tile);
    EXPECT_TRUE(status) << status.error().message;
  }
  random.segments = right.segments;
  random.experts = right.experts;
  return bytes_of(random.args().c);
}

class BrokenGroupsOnGpu : public OnGpu, public ::testing::WithParamInterface<const char*> {
 protected:
  // Every tile of both families, each with another problem.
  template <class Check>
  static void for_each_tile(const Check& check) {
    const Combination combination = combination_named(GetParam());
    RandomProblem like(combination, 0, {.is_aligned = true, .is_large = true, .block_shape = BlockShape{128, 128}});
    std::uint64_t seed = 0;
    for (const TileConfig& tile : gpu_tiles(like.problem(), (*gpu())->info())) {
      RandomProblem random(combination, seed++,
                           {.is_aligned = true, .is_large = true, .block_shape = BlockShape{128, 128}});
      if (!check_tile(random.problem(), tile, (*gpu())->info())) continue;
      SCOPED_TRACE(random.describe() + " on " + expertile::describe(tile));
      check(tile, random);
      if (HasFailure()) return;
    }
  }
};

TEST_P(BrokenGroupsOnGpu, AreSkippedAndAllOthersAreRight) {
  for_each_tile([](const TileConfig& tile, RandomProblem& random) {
    const Groups right = groups_of(random);
    const std::vector<std::byte> wanted = multiplied(tile, random, right);
    const std::vector<std::byte> found =
        multiplied(tile, random, with_foreign_experts(right, random.problem().experts));
    EXPECT_TRUE(multiplied(tile, random, with_detours(right, random.args().a.rows)) == wanted);
    random.poison();
    const std::vector<std::byte> untouched = bytes_of(random.args().c);
    expect_foreign_groups_skipped(random, right, {found, wanted, untouched});
  });
  EXPECT_TRUE((*gpu())->synchronise()) << "the context lives";
}

INSTANTIATE_TEST_SUITE_P(, BrokenGroupsOnGpu,
                         ::testing::Values("bfloat16", "fp8_w8a8_block", "int8_w8a8_per_token_channel", "tf32",
                                           "int8_w8a16_float16"),
                         [](const auto& entry) { return std::string(entry.param); });

// Kernels are shared by operations of all sizes: how many blocks a launch has is each operation's own.
TEST_F(OnGpu, OneTileIsRightForOperationsOfManyWidths) {
  for (const bool is_aligned : {true, false}) {
    for (const std::uint64_t seed : {1, 2, 3, 4, 5, 6}) {
      RandomProblem random(combination_named("float16"), seed, {.is_aligned = is_aligned, .has_many_tiles = seed > 1});
      PlacedProblem placed(**gpu(), random);
      const auto status = run_tile(**gpu(), random.problem(),
                                   {.block_size_m = 16,
                                    .block_size_n = 64,
                                    .block_size_k = 64,
                                    .num_warps = 4,
                                    .num_stages = 3,
                                    .kernel = KernelFamily::sm80},
                                   placed.args());
      ASSERT_TRUE(status) << status.error().message;
      ASSERT_TRUE((*gpu())->synchronise());
      ASSERT_TRUE(placed.fetch());
      EXPECT_LE(worst_error_over_bound(random.problem(), random.args(),
                                       reference_grouped_gemm(random.problem(), random.args())),
                1.0)
          << random.describe();
      EXPECT_EQ(random.overwritten(), 0);
    }
  }
}

}  // namespace
}  // namespace expertile::testing
