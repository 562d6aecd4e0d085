// The operation against the double-precision reference, on every instruction set that this machine runs; and the proof
// that the same check finds planted bugs.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <memory>

#include "backend/backend.hpp"
#include "backend/reference.hpp"
#include "support/placed_problem.hpp"
#include "support/random_problem.hpp"

namespace expertile::testing {
namespace {

constexpr int kProblems = 200;

// What every test below judges by: 1 or less is right.
double judge(RandomProblem& random) {
  const GroupedGemmArgs args = random.args();
  if (random.overwritten() != 0) return HUGE_VAL;
  return worst_error_over_bound(random.problem(), args, reference_grouped_gemm(random.problem(), args));
}

class EveryInstructionSet : public ::testing::TestWithParam<std::tuple<CpuIsa, Combination>> {};

TEST_P(EveryInstructionSet, AgreesWithTheReferenceOnRandomRaggedProblems) {
  const auto& [isa, combination] = GetParam();
  const auto backend = open_backend("cpu", 2, isa);
  if (!backend) GTEST_SKIP() << backend.error().message;
  for (int seed = 0; seed < kProblems; ++seed) {
    RandomProblem random(combination, static_cast<std::uint64_t>(seed));
    const auto valid = validate(random.problem(), random.args());
    ASSERT_TRUE(valid) << valid.error().message;
    const auto status = run_tile(**backend, random.problem(), random.tile(), random.args());
    ASSERT_TRUE(status) << status.error().message;
    ASSERT_EQ(random.overwritten(), 0) << random.describe();
    ASSERT_LE(judge(random), 1.0) << "seed " << seed << " " << random.describe();
  }
}

INSTANTIATE_TEST_SUITE_P(, EveryInstructionSet,
                         ::testing::Combine(::testing::Values(CpuIsa::avx512_bf16, CpuIsa::avx512, CpuIsa::avx2,
                                                              CpuIsa::portable),
                                            ::testing::ValuesIn(all_combinations())),
                         [](const auto& entry) {
                           return std::string(name(std::get<0>(entry.param))) + "_" + std::get<1>(entry.param).name;
                         });

class PlantedBug : public ::testing::TestWithParam<Combination> {
 protected:
  // Runs a broken kernel on random problems until one offers the place to break; true when the check found it.
  template <class Break>
  static ::testing::AssertionResult is_caught(const Combination& combination, const Break& run_broken) {
    const auto backend = open_backend("cpu", 2);
    int planted = 0;
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
      RandomProblem random(combination, seed);
      if (random.segments.back() == random.segments.front() || !run_broken(**backend, random)) continue;
      ++planted;
      if (judge(random) <= 1.0)
        return ::testing::AssertionFailure() << "missed with seed " << seed << " " << random.describe();
    }
    if (planted < 5) return ::testing::AssertionFailure() << "planted only " << planted << " times";
    return ::testing::AssertionSuccess();
  }
};

TEST_P(PlantedBug, ATileThatIsNotWrittenIsCaught) {
  EXPECT_TRUE(is_caught(GetParam(), [](const Backend& backend, RandomProblem& random) {
    EXPECT_TRUE(run_tile(backend, random.problem(), random.tile(), random.args()));
    const GroupedGemmArgs args = random.args();
    const std::size_t element = size_of(args.c.type);
    auto* row = static_cast<std::byte*>(args.c.data) +
                static_cast<std::size_t>(random.segments.front() * args.c.pitch) * element;
    std::fill_n(row, element, std::byte{0xa5});  // the first element keeps its poison
    return true;
  }));
}

TEST_P(PlantedBug, ARowTooManyIsCaught) {
  EXPECT_TRUE(is_caught(GetParam(), [](const Backend& backend, RandomProblem& random) {
    ++random.segments.back();
    EXPECT_TRUE(run_tile(backend, random.problem(), random.tile(), random.args()));
    --random.segments.back();
    return true;
  }));
}

TEST_P(PlantedBug, ARowTooManyBeforeTheFirstGroupIsCaught) {
  EXPECT_TRUE(is_caught(GetParam(), [](const Backend& backend, RandomProblem& random) {
    if (random.segments.front() == 0) return false;
    --random.segments.front();
    EXPECT_TRUE(run_tile(backend, random.problem(), random.tile(), random.args()));
    ++random.segments.front();
    return true;
  }));
}

using PlantedScale = PlantedBug;

TEST_P(PlantedScale, InTheWrongPlaceIsCaught) {
  EXPECT_TRUE(is_caught(GetParam(), [](const Backend& backend, RandomProblem& random) {
    const GroupedGemmArgs args = random.args();

    std::int64_t expert = -1;
    for (std::size_t g = 0; g < args.weight_indices.size() && expert < 0; ++g) {
      if (args.seg_indptr[g + 1] > args.seg_indptr[g]) expert = args.weight_indices[g];
    }
    const std::size_t each = random.scale_b.size() / static_cast<std::size_t>(random.problem().experts);
    float& scale = random.scale_b[static_cast<std::size_t>(expert) * each];
    const float right = scale;
    scale *= 64;  // some other scale
    EXPECT_TRUE(run_tile(backend, random.problem(), random.tile(), random.args()));
    scale = right;
    return true;
  }));
}

std::vector<Combination> combinations_with_scales() {
  std::vector<Combination> all = all_combinations();
  std::erase_if(all, [](const Combination& one) { return one.scales == Scales::none; });
  return all;
}

// tf32's bound is so wide that a small wrong value may lie within it.
std::vector<Combination> combinations_with_narrow_bounds() {
  std::vector<Combination> all = all_combinations();
  std::erase_if(all, [](const Combination& one) { return one.tf32; });
  return all;
}

INSTANTIATE_TEST_SUITE_P(, PlantedBug, ::testing::ValuesIn(combinations_with_narrow_bounds()),
                         [](const auto& entry) { return entry.param.name; });
INSTANTIATE_TEST_SUITE_P(, PlantedScale, ::testing::ValuesIn(combinations_with_scales()),
                         [](const auto& entry) { return entry.param.name; });

TEST(GroupedGemm, MultipliesWeightsBeyondTwoToTheThirtyOneElements) {
  // calloc'ed pages that nobody touches cost nothing: only the last expert's last row is written.
  constexpr std::int64_t kExperts = 3;
  constexpr std::int64_t kSide = 32768;
  const std::unique_ptr<void, decltype(&std::free)> memory(std::calloc(kExperts * kSide, kSide), &std::free);
  if (!memory) GTEST_SKIP() << "not enough address space";
  auto* weights = static_cast<std::int8_t*>(memory.get());
  const std::int64_t last = kExperts * kSide - 1;
  for (std::int64_t k = 0; k < kSide; ++k) weights[last * kSide + k] = 2;
  const std::vector<std::int8_t> a(kSide, 3);
  std::vector<float> c(kSide, -1);
  const std::vector<float> scale_a(1, 1.0F);
  const std::vector<float> scale_b(static_cast<std::size_t>(kExperts * kSide), 0.5F);
  const std::vector<std::int64_t> segments{0, 1};
  const std::vector<std::int64_t> experts{kExperts - 1};
  const Problem problem{.experts = kExperts, .n = kSide, .k = kSide, .dtype = DType::int8_w8a8, .top_k = 1};
  const GroupedGemmArgs args{.a = view(a.data(), 1, kSide),
                             .b = view(weights, kExperts * kSide, kSide),
                             .c = view(c.data(), 1, kSide),
                             .seg_indptr = segments,
                             .weight_indices = experts,
                             .scale_a = scale_a,
                             .scale_b = scale_b};
  const auto valid = validate(problem, args);
  ASSERT_TRUE(valid) << valid.error().message;
  ASSERT_TRUE(run_tile(**open_backend("cpu", 2), problem, TileConfig{.block_size_m = 4}, args));
  EXPECT_EQ(c.back(), 3.0F * 2.0F * kSide * 0.5F);
  EXPECT_EQ(c.front(), 0.0F);
}

TEST(GroupedGemm, CarriesNaNAndInfinityToTheirRowAlone) {
  std::vector<float> a(3 * 40, 1.0F);
  a[40] = NAN;
  a[80] = INFINITY;
  const std::vector<float> b(5 * 40, 2.0F);
  std::vector<float> c(3 * 5);
  const std::vector<std::int64_t> segments{0, 3};
  const std::vector<std::int64_t> experts{0};
  const Problem problem{.experts = 1, .n = 5, .k = 40, .dtype = DType::float32, .top_k = 1};
  const GroupedGemmArgs args{.a = view(a.data(), 3, 40),
                             .b = view(b.data(), 5, 40),
                             .c = view(c.data(), 3, 5),
                             .seg_indptr = segments,
                             .weight_indices = experts};
  ASSERT_TRUE(run_tile(**open_backend("cpu", 2), problem, TileConfig{}, args));
  EXPECT_EQ(c[0], 80.0F);
  EXPECT_TRUE(std::isnan(c[5]));
  EXPECT_EQ(c[10], INFINITY);
}

}  // namespace
}  // namespace expertile::testing
