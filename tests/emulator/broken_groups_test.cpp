// Groups that cannot be right: an expert that is not there, or rows that are not rows of A. Kernels of both families
// skip them as if they were empty: what they would have written stays as it was, and all other groups are right to the
// bit.

#include "support/broken_groups.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "emulator/run_emulated.hpp"
#include "plan/candidates.hpp"

namespace expertile::testing {
namespace {

constexpr std::uint64_t kSeeds = 3;

// What a call with these groups leaves in C.
std::vector<std::byte> multiplied(const EmulatedKernel& kernel, RandomProblem& random, const Groups& groups) {
  random.poison();
  GroupedGemmArgs args = random.args();
  args.seg_indptr = groups.segments;
  args.weight_indices = groups.experts;
  const auto status = run_emulated(kernel, random.problem(), args);
  EXPECT_TRUE(status) << status.error().message;
  return bytes_of(args.c);
}

// Every kernel of some combinations of both families, each with some problems.
template <class Check>
void for_each_kernel(const Check& check) {
  for (const char* name : {"float16", "tf32", "fp8_w8a8_block", "int8_w8a8_per_token_channel", "int8_w8a16_float16"}) {
    const Combination combination = combination_named(name);
    for (const KernelFamily family : {KernelFamily::sm80, KernelFamily::sm90}) {
      for (const EmulatedKernel& kernel : kernels_for(combination, family)) {
        for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
          RandomProblem random = random_problem(combination, kernel.spec, seed);
          const Groups right = groups_of(random);
          SCOPED_TRACE(random.describe() + " on " + describe(kernel.spec.tile));
          check(kernel, random, right);
          if (::testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

TEST(BrokenGroups, WhoseExpertIsNotThereAreSkipped) {
  for_each_kernel([](const EmulatedKernel& kernel, RandomProblem& random, const Groups& right) {
    const Groups broken = with_foreign_experts(right, random.problem().experts);
    const std::vector<std::byte> wanted = multiplied(kernel, random, right);
    const std::vector<std::byte> found = multiplied(kernel, random, broken);
    random.poison();
    const std::vector<std::byte> untouched = bytes_of(random.args().c);
    expect_foreign_groups_skipped(random, right, {found, wanted, untouched});
  });
}

TEST(BrokenGroups, WhoseRowsAreNotRowsOfAAreSkipped) {
  for_each_kernel([](const EmulatedKernel& kernel, RandomProblem& random, const Groups& right) {
    const Groups broken = with_detours(right, random.args().a.rows);
    ASSERT_EQ(broken.segments.size(), broken.experts.size() + 1);
    const std::vector<std::byte> wanted = multiplied(kernel, random, right);
    EXPECT_TRUE(multiplied(kernel, random, broken) == wanted);
  });
}

// Offsets that decrease may put rows into several groups: those stay with the first of them, and the rest of the others
// is right. (Were they multiplied again, there would be more tiles than a launch has blocks for.)
TEST(BrokenGroups, ThatHaveRowsOfOthersLeaveThemToTheFirst) {
  for_each_kernel([](const EmulatedKernel& kernel, RandomProblem& random, const Groups& right) {
    const std::int64_t rows = right.segments.back();
    const std::int64_t half = rows / 2;
    const std::int64_t last = random.problem().experts - 1;
    const Groups once{{0, half, rows}, {0, last}};
    Groups often{{0, half}, {0}};
    for (int i = 0; i < 20; ++i) {  // more than a warp has in hand
      often.segments.insert(often.segments.end(), {std::min<std::int64_t>(i % 4, half), half - i % 3});
      often.experts.insert(often.experts.end(), 2, last);
    }
    often.segments.insert(often.segments.end(), {half / 2, rows});
    often.experts.insert(often.experts.end(), 2, last);
    const std::vector<std::byte> wanted = multiplied(kernel, random, once);
    EXPECT_TRUE(multiplied(kernel, random, often) == wanted);
  });
}

}  // namespace
}  // namespace expertile::testing
