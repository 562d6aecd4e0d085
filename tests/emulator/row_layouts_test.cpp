// Rows that are masked, and offsets in 32 bits, on the kernels of both families.

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "backend/reference.hpp"
#include "emulator/run_emulated.hpp"
#include "plan/candidates.hpp"
#include "support/broken_groups.hpp"

namespace expertile::testing {
namespace {

constexpr std::uint64_t kSeeds = 12;

struct Layout {
  RowLayout rows;
  KernelFamily family;
};
std::vector<Layout> all_layouts() {
  std::vector<Layout> all;
  for (const RowLayout rows : {RowLayout::offsets_32, RowLayout::masked}) {
    for (const KernelFamily family : {KernelFamily::sm80, KernelFamily::sm90}) all.push_back({rows, family});
  }
  return all;
}

// Every combination that a layout has kernels of, each kernel with some problems, the last of them large if wished.
template <class Check>
void for_each_kernel(const Layout& layout, std::uint64_t seeds, std::uint64_t large, const Check& check) {
  for (const Combination& combination : all_combinations()) {
    for (const EmulatedKernel& kernel : kernels_for(combination, layout.family, layout.rows)) {
      for (std::uint64_t seed = 0; seed < seeds; ++seed) {
        RandomProblem random = random_problem(combination, kernel.spec, seed, seed + large >= seeds);
        SCOPED_TRACE(random.describe() + " on " + describe(kernel.spec.tile));
        check(kernel, random);
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
}

double error_of(RandomProblem& random) {
  return worst_error_over_bound(random.problem(), random.args(),
                                reference_grouped_gemm(random.problem(), random.args()));
}

class RowLayoutEmulated : public ::testing::TestWithParam<Layout> {};

TEST_P(RowLayoutEmulated, HasKernelsOfEveryDtype) {
  std::set<DType> dtypes;
  for (const Combination& one : all_combinations()) {
    if (!kernels_for(one, GetParam().family, GetParam().rows).empty()) dtypes.insert(one.dtype);
  }
  EXPECT_EQ(dtypes.size(), 6U);
}

TEST_P(RowLayoutEmulated, AgreesWithTheReferenceOnRaggedProblems) {
  for_each_kernel(GetParam(), kSeeds, 1, [](const EmulatedKernel& kernel, RandomProblem& random) {
    const auto valid = validate(random.problem(), random.args());
    ASSERT_TRUE(valid) << valid.error().message;
    const auto status = run_emulated(kernel, random.problem(), random.args());
    ASSERT_TRUE(status) << status.error().message;
    ASSERT_EQ(random.overwritten(), 0);
    ASSERT_LE(error_of(random), 1.0);
  });
}

INSTANTIATE_TEST_SUITE_P(, RowLayoutEmulated, ::testing::ValuesIn(all_layouts()), [](const auto& entry) {
  return std::string(name(entry.param.rows)) + (entry.param.family == KernelFamily::sm80 ? "_sm80" : "_sm90");
});

class MaskEmulated : public ::testing::TestWithParam<KernelFamily> {
 protected:
  template <class Check>
  static void for_each_kernel(const Check& check) {
    testing::for_each_kernel({RowLayout::masked, GetParam()}, 3, 0, check);
  }
};

TEST_P(MaskEmulated, ThatIsIgnoredIsCaught) {
  int planted = 0;
  for_each_kernel([&planted](const EmulatedKernel& kernel, RandomProblem& random) {
    GroupedGemmArgs args = random.args();
    const std::vector<std::int32_t> all(args.masked_m.size(), static_cast<std::int32_t>(args.max_m));
    if (std::ranges::equal(all, args.masked_m)) return;
    ++planted;
    args.masked_m = all;
    ASSERT_TRUE(run_emulated(kernel, random.problem(), args));
    EXPECT_GT(random.overwritten(), 0);
  });
  EXPECT_GT(planted, 10);
}

TEST_P(MaskEmulated, ThatIsARowTooShortIsCaught) {
  int planted = 0;
  for_each_kernel([&planted](const EmulatedKernel& kernel, RandomProblem& random) {
    GroupedGemmArgs args = random.args();
    std::vector<std::int32_t> fewer = random.masked_m;
    const auto longest = std::ranges::max_element(fewer);
    if (*longest == 0) return;
    ++planted;
    --*longest;
    args.masked_m = fewer;
    ASSERT_TRUE(run_emulated(kernel, random.problem(), args));
    EXPECT_GT(error_of(random), 1.0);
  });
  EXPECT_GT(planted, 10);
}

TEST_P(MaskEmulated, OutsideOfItsRowsIsCutToThem) {
  for_each_kernel([](const EmulatedKernel& kernel, RandomProblem& random) {
    constexpr std::int32_t kBelow[] = {-1, std::numeric_limits<std::int32_t>::min()};
    const GroupedGemmArgs given = random.args();
    const auto max_m = static_cast<std::int32_t>(given.max_m);
    const std::int32_t above[] = {max_m + 1, std::numeric_limits<std::int32_t>::max()};
    std::vector<std::int32_t> broken = random.masked_m;
    std::vector<std::int32_t> cut = random.masked_m;
    for (std::size_t g = 0; g < cut.size(); g += 2) {
      broken[g] = g % 4 == 0 ? above[g / 4 % 2] : kBelow[g / 4 % 2];
      cut[g] = g % 4 == 0 ? max_m : 0;
    }
    const auto multiplied = [&](const std::vector<std::int32_t>& masked_m) {
      random.poison();
      GroupedGemmArgs args = given;
      args.masked_m = masked_m;
      const auto status = run_emulated(kernel, random.problem(), args);
      EXPECT_TRUE(status) << status.error().message;
      return bytes_of(args.c);
    };
    EXPECT_TRUE(multiplied(broken) == multiplied(cut));
  });
}

INSTANTIATE_TEST_SUITE_P(, MaskEmulated, ::testing::Values(KernelFamily::sm80, KernelFamily::sm90),
                         [](const auto& entry) { return entry.param == KernelFamily::sm80 ? "sm80" : "sm90"; });

// Groups that cannot be right are skipped, as those of 64 bits are (broken_groups_test.cpp).
TEST(OffsetsIn32Bits, ThatDecreaseOrLieOutsideMakeEmptyGroups) {
  for (const KernelFamily family : {KernelFamily::sm80, KernelFamily::sm90}) {
    for_each_kernel({RowLayout::offsets_32, family}, 2, 0, [](const EmulatedKernel& kernel, RandomProblem& random) {
      const GroupedGemmArgs given = random.args();
      const auto rows = static_cast<std::int32_t>(given.a.rows);
      std::vector<std::int32_t> segments;
      std::vector<std::int64_t> experts;
      for (std::size_t g = 0; g < random.experts.size(); ++g) {
        const std::int32_t begin = random.segments_32[g];
        segments.insert(segments.end(),
                        {begin, begin / 2, rows + 1, -1, std::numeric_limits<std::int32_t>::max(), begin});
        experts.insert(experts.end(), 6, random.experts[g]);
      }
      segments.push_back(random.segments_32.back());
      const auto multiplied = [&](const GroupedGemmArgs& args) {
        random.poison();
        const auto status = run_emulated(kernel, random.problem(), args);
        EXPECT_TRUE(status) << status.error().message;
        return bytes_of(args.c);
      };
      GroupedGemmArgs broken = given;
      broken.seg_indptr_32 = segments;
      broken.weight_indices = experts;
      EXPECT_TRUE(multiplied(broken) == multiplied(given));
    });
  }
}

}  // namespace
}  // namespace expertile::testing
