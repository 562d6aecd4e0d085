// How many blocks a launch has: enough for every routing, without a look at it.

#include "plan/launch_plan.hpp"

#include <gtest/gtest.h>

#include <random>

#include "plan/kernel_plan.hpp"

namespace expertile {
namespace {

constexpr Problem kProblem{.experts = 16, .n = 200, .k = 256};

LaunchPlan plan_of(RowLayout rows, int tile_m, KernelFamily family) {
  const TileConfig tile{.block_size_m = tile_m, .block_size_n = 64, .block_size_k = 64, .kernel = family};
  return make_launch_plan(kProblem,
                          make_spec(kProblem, tile, {ElementType::float16, ElementType::float16, rows}, true));
}

TEST(BlockCount, IsEnoughForEveryMask) {
  std::mt19937 generator(3);
  for (const int tile_m : {16, 64, 128}) {
    for (const std::int64_t max_m : {1, 15, 16, 17, 64, 100, 129, 1024}) {
      const LaunchPlan plan = plan_of(RowLayout::masked, tile_m, KernelFamily::sm80);
      const std::int64_t blocks = block_count(plan, kProblem.experts * max_m, kProblem.experts);
      std::uniform_int_distribution<std::int64_t> count(0, max_m);
      for (int i = 0; i < 50; ++i) {
        std::int64_t tiles = 0;
        for (std::int64_t e = 0; e < kProblem.experts; ++e) {
          tiles += ceil_div(i == 0 ? max_m : count(generator), tile_m) * ceil_div(kProblem.n, 64);
        }
        EXPECT_LE(tiles, blocks);
        if (i == 0) {
          EXPECT_EQ(tiles, blocks) << "all rows are there";
        }
      }
    }
  }
}

TEST(BlockCount, OfOffsetsIsTheSameInBothWidths) {
  for (const std::int64_t rows : {1, 7, 100, 5000}) {
    EXPECT_EQ(block_count(plan_of(RowLayout::offsets, 64, KernelFamily::sm80), rows, 16),
              block_count(plan_of(RowLayout::offsets_32, 64, KernelFamily::sm80), rows, 16));
  }
}

// 16 groups of 4096 rows make up to 16 * 64 * 4 tiles of 64 x 64.
TEST(RepeatingBlocks, AreThoseThatTheExpectedRowsNeed) {
  const LaunchPlan plan = plan_of(RowLayout::masked, 64, KernelFamily::sm80);
  constexpr std::int64_t kAll = 16 * 64 * 4;
  ASSERT_EQ(block_count(plan, 16 * 4096, 16), kAll);
  EXPECT_EQ(repeating_blocks(plan, kAll, {.rows = 16, .groups = 16, .blocks_at_once = 10}), 16 * 4);
  EXPECT_EQ(repeating_blocks(plan, kAll, {.rows = 16 + 64, .groups = 16, .blocks_at_once = 10}), 17 * 4);
  EXPECT_EQ(repeating_blocks(plan, kAll, {.rows = 16, .groups = 16, .blocks_at_once = 500}), 500);
  EXPECT_EQ(repeating_blocks(plan, kAll, {.rows = 16 * 4096, .groups = 16, .blocks_at_once = 500}), kAll);
  EXPECT_EQ(repeating_blocks(plan, 8, {.rows = 1, .groups = 1, .blocks_at_once = 500}), 8);
}

}  // namespace
}  // namespace expertile
