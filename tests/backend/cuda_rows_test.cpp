// Masked rows, and offsets in 32 bits, on a real GPU; skipped, visibly, where there is none.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "backend/on_gpu.hpp"
#include "plan/candidates.hpp"
#include "support/broken_groups.hpp"
#include "support/placed_problem.hpp"

namespace expertile::testing {
namespace {

constexpr int kProblems = 12;
constexpr int kFewProblems = 3;  // scripts/sanitize_gpu.sh

// A tile of each problem's, another one each time.
TileConfig tile_for(const RandomProblem& random, int turn) {
  const auto tiles = gpu_tiles(random.problem(), (*gpu())->info());
  constexpr int kStep = 7;  // which no number of tiles is a multiple of, but of 7 and 14
  return tiles[static_cast<std::size_t>(turn * kStep) % tiles.size()];
}

class EveryLayoutOnGpu : public ::testing::TestWithParam<std::tuple<RowLayout, Combination>> {
 protected:
  void SetUp() override {
    if (const auto opened = gpu(); !opened) GTEST_SKIP() << opened.error().message;
  }
  static void expect_right(Wishes wishes) {
    const auto& [layout, combination] = GetParam();
    wishes.rows = layout;
    const int problems = std::getenv("EXPERTILE_FEW_PROBLEMS") != nullptr ? kFewProblems : kProblems;
    for (int seed = 0; seed < problems; ++seed) {
      RandomProblem random(combination, static_cast<std::uint64_t>(seed), wishes);
      const TileConfig tile = tile_for(random, seed);
      SCOPED_TRACE(random.describe() + " " + expertile::describe(tile));
      PlacedProblem placed(**gpu(), random);
      const auto status = placed.run(tile);
      ASSERT_TRUE(status) << status.error().message;
      ASSERT_EQ(random.overwritten(), 0);
      const auto reference = reference_grouped_gemm(random.problem(), random.args());
      ASSERT_LE(worst_error_over_bound(random.problem(), random.args(), reference, sum_error(random.problem(), tile)),
                1.0);
    }
  }
};

TEST_P(EveryLayoutOnGpu, AgreesWithTheReferenceOnAlignedProblems) {
  expect_right({.is_aligned = true, .is_large = true, .block_shape = BlockShape{128, 128}});
}
TEST_P(EveryLayoutOnGpu, AgreesWithTheReferenceOnUnalignedProblems) { expect_right({}); }

INSTANTIATE_TEST_SUITE_P(, EveryLayoutOnGpu,
                         ::testing::Combine(::testing::Values(RowLayout::offsets_32, RowLayout::masked),
                                            ::testing::ValuesIn(all_combinations())),
                         [](const auto& entry) {
                           return std::string(name(std::get<0>(entry.param))) + "_" + std::get<1>(entry.param).name;
                         });

using MaskedOnGpu = OnGpu;

// What C holds after a call with these counts.
std::vector<std::byte> multiplied(RandomProblem& random, const GroupedGemm& gemm, std::vector<std::int32_t> masked_m,
                                  std::int64_t expected_rows) {
  random.poison();
  random.masked_m = std::move(masked_m);
  PlacedProblem placed(**gpu(), random);
  GroupedGemmArgs args = placed.args();
  args.expected_rows = expected_rows;
  const auto status = gemm(args);
  EXPECT_TRUE(status) << status.error().message;
  EXPECT_TRUE((*gpu())->synchronise());
  EXPECT_TRUE(placed.fetch());
  return bytes_of(random.args().c);
}

TEST_F(MaskedOnGpu, CountsOutsideTheirRowsAreCutToThem) {
  for (const char* name : {"bfloat16", "bfloat16_block"}) {
    RandomProblem random(combination_named(name), 7, {.is_aligned = true, .rows = RowLayout::masked});
    const auto gemm = GroupedGemm::prepare(
        random.problem(), {.device = "cuda", .config_dir = "/nonexistent", .row_layout = RowLayout::masked});
    ASSERT_TRUE(gemm) << gemm.error().message;
    std::vector<std::int32_t> broken = random.masked_m;
    std::vector<std::int32_t> cut = broken;
    const auto max_m = static_cast<std::int32_t>(random.args().max_m);
    broken.front() = std::numeric_limits<std::int32_t>::max();
    cut.front() = max_m;
    if (cut.size() > 1) {
      broken.back() = -1;
      cut.back() = 0;
    }
    EXPECT_TRUE(multiplied(random, *gemm, broken, 0) == multiplied(random, *gemm, cut, 0)) << name;
  }
}

// Were fewer rows expected than there are, blocks take several tiles each.
TEST_F(MaskedOnGpu, MoreRowsThanExpectedAreRightToo) {
  for (const char* name : {"bfloat16", "int8_w8a8_block", "float32"}) {
    RandomProblem random(combination_named(name), 3, {.has_many_tiles = true, .rows = RowLayout::masked});
    const auto gemm = GroupedGemm::prepare(
        random.problem(), {.device = "cuda", .config_dir = "/nonexistent", .row_layout = RowLayout::masked});
    ASSERT_TRUE(gemm) << gemm.error().message;
    static_cast<void>(multiplied(random, *gemm, random.masked_m, 1));
    EXPECT_EQ(random.overwritten(), 0);
    const std::int64_t every = 17;
    const auto reference = reference_grouped_gemm(random.problem(), random.args(), every);
    const double lost = sum_error(random.problem(), gemm->selection(1).tile);
    EXPECT_LE(worst_error_over_bound(random.problem(), random.args(), reference, lost), 1.0) << name;
  }
}

// A graph of a call reads the counts when it is replayed.
TEST_F(MaskedOnGpu, AGraphReadsTheCountsThatAreThereThen) {
  RandomProblem random(combination_named("float16_block"), 4, {.is_aligned = true, .rows = RowLayout::masked});
  const auto gemm = GroupedGemm::prepare(
      random.problem(), {.device = "cuda", .config_dir = "/nonexistent", .row_layout = RowLayout::masked});
  ASSERT_TRUE(gemm) << gemm.error().message;
  const std::vector<std::int32_t> right = random.masked_m;
  random.masked_m.assign(right.size(), 0);
  PlacedProblem placed(**gpu(), random);
  const TestStream stream;
  const auto counts = (*gpu())->allocate(right.size() * sizeof(std::int32_t));
  ASSERT_TRUE(counts) << counts.error().message;
  ASSERT_TRUE((*gpu())->fill(*counts, std::as_bytes(std::span(random.masked_m))));
  GroupedGemmArgs args = placed.args();
  args.stream = stream.handle();
  args.masked_m = {static_cast<const std::int32_t*>(counts->data()), right.size()};
  const auto graph = stream.captured([&] { EXPECT_TRUE((*gemm)(args)); });
  ASSERT_NO_FATAL_FAILURE(stream.replay(graph));
  ASSERT_NO_FATAL_FAILURE(stream.wait());
  ASSERT_TRUE(placed.fetch());
  EXPECT_EQ(random.overwritten(), 0) << "no row is there yet";
  random.masked_m = right;
  ASSERT_TRUE((*gpu())->fill(*counts, std::as_bytes(std::span(right))));
  ASSERT_NO_FATAL_FAILURE(stream.replay(graph));
  ASSERT_NO_FATAL_FAILURE(stream.wait());
  stream.destroy(graph);
  ASSERT_TRUE(placed.fetch());
  EXPECT_EQ(random.overwritten(), 0);
  const auto reference = reference_grouped_gemm(random.problem(), random.args());
  const double lost = sum_error(random.problem(), gemm->selection(args.a.rows).tile);
  EXPECT_LE(worst_error_over_bound(random.problem(), random.args(), reference, lost), 1.0);
}

}  // namespace
}  // namespace expertile::testing
