// Groups that cannot be right: an expert that is not there, or rows that are not rows of A. Kernels of both families
// skip them as if they were empty: what they would have written stays as it was, and all other groups are right to the
// bit.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "emulator/run_emulated.hpp"
#include "plan/candidates.hpp"

namespace expertile::testing {
namespace {

using Numbers = std::vector<std::int64_t>;

constexpr std::int64_t kFarAway = std::int64_t{1} << 40;
constexpr std::int64_t kWrapsToNothing = std::int64_t{1} << 32;  // a whole group where only 32 bits are looked at
constexpr std::uint64_t kSeeds = 3;

struct Groups {
  Numbers segments;
  Numbers experts;
};

std::vector<std::byte> bytes_of(const MatrixView& c) {
  const auto* begin = static_cast<const std::byte*>(c.data);
  return {begin, begin + c.rows * c.pitch * static_cast<std::int64_t>(size_of(c.type))};
}

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
          const GroupedGemmArgs args = random.args();
          const Groups right{random.segments, {args.weight_indices.begin(), args.weight_indices.end()}};
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
    const std::int64_t experts = random.problem().experts;
    const std::vector<std::byte> wanted = multiplied(kernel, random, right);
    Groups broken = right;
    const Numbers foreign = {-1, experts, kFarAway, -kFarAway, kWrapsToNothing};
    for (std::size_t g = 0; g < broken.experts.size(); g += 2) broken.experts[g] = foreign[g / 2 % foreign.size()];
    const std::vector<std::byte> found = multiplied(kernel, random, broken);
    random.poison();
    const std::vector<std::byte> untouched = bytes_of(random.args().c);
    const std::size_t row_bytes = wanted.size() / static_cast<std::size_t>(random.args().c.rows);
    for (std::size_t g = 0; g < broken.experts.size(); ++g) {
      const auto begin = static_cast<std::ptrdiff_t>(row_bytes) * right.segments[g];
      const auto end = static_cast<std::ptrdiff_t>(row_bytes) * right.segments[g + 1];
      const std::vector<std::byte>& same = g % 2 == 0 ? untouched : wanted;
      EXPECT_TRUE(std::equal(found.begin() + begin, found.begin() + end, same.begin() + begin))
          << "group " << g << " with expert " << broken.experts[g];
    }
  });
}

// The groups that are right stay, and others come between them: offsets from one group's end over some that make no
// group, back to where the next group begins.
Groups with_detours(const Groups& right, std::int64_t rows) {
  Groups broken;
  for (std::size_t g = 0; g < right.experts.size(); ++g) {
    const std::int64_t begin = right.segments[g];
    const Numbers detours[] = {
        {begin / 2, rows + 1},             // decreases, ends past M, and decreases from there
        {-1},                              // begins below 0
        {kFarAway, -kFarAway},             // far away
        {kWrapsToNothing + begin + 1},     // past M by what 32 bits do not say
        {-kWrapsToNothing, rows + 1, -1},  // likewise below 0
    };
    broken.segments.push_back(begin);
    for (const std::int64_t offset : detours[g % std::size(detours)]) {
      broken.segments.push_back(offset);
      broken.experts.push_back(right.experts[g]);
    }
    broken.segments.push_back(begin);
    broken.experts.insert(broken.experts.end(), 2, right.experts[g]);  // the way back, and the group itself
  }
  broken.segments.push_back(right.segments.back());
  return broken;
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
