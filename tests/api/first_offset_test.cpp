// Offsets that begin at any row: who has some of all experts calls with their slice of the offsets.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "backend/reference.hpp"
#include "expertile/grouped_gemm.hpp"
#include "support/random_problem.hpp"

namespace expertile::testing {
namespace {

GroupedGemm prepared(const Problem& problem) {
  return GroupedGemm::prepare(problem, {.device = "cpu", .threads = 2, .config_dir = "/nonexistent"}).value();
}

// The call with groups `first` to before `last` alone.
GroupedGemmArgs slice(GroupedGemmArgs args, std::size_t first, std::size_t last) {
  args.seg_indptr = args.seg_indptr.subspan(first, last - first + 1);
  args.weight_indices = args.weight_indices.subspan(first, last - first);
  return args;
}

class FirstOffset : public ::testing::TestWithParam<Combination> {
 protected:
  static void SetUpTestSuite() { ::testing::internal::CaptureStderr(); }  // there are no files for these problems
  static void TearDownTestSuite() { static_cast<void>(::testing::internal::GetCapturedStderr()); }
};

TEST_P(FirstOffset, OfEachSliceOfTheGroupsMayBeWhereItIs) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    RandomProblem random(GetParam(), seed);
    SCOPED_TRACE(random.describe());
    const GroupedGemm gemm = prepared(random.problem());
    const GroupedGemmArgs args = random.args();
    const std::size_t groups = args.weight_indices.size();
    for (const auto& [first, last] : {std::pair{groups / 3, groups}, std::pair{std::size_t{0}, groups / 3}}) {
      const auto status = gemm(slice(args, first, last));
      ASSERT_TRUE(status) << status.error().message;
    }
    EXPECT_EQ(random.overwritten(), 0);
    EXPECT_LE(worst_error_over_bound(random.problem(), args, reference_grouped_gemm(random.problem(), args)), 1.0);
  }
}

INSTANTIATE_TEST_SUITE_P(, FirstOffset, ::testing::ValuesIn(all_combinations()),
                         [](const auto& entry) { return entry.param.name; });

TEST(AFirstOffset, RowsBeforeItAreNeitherWrittenNorQuantised) {
  constexpr std::int64_t kRows = 5;
  const Problem problem{.experts = 1, .n = 4, .k = 16, .dtype = DType::float32, .block_shape = BlockShape{4, 16}};
  const GroupedGemm gemm = prepared(problem);
  const std::vector<float> a(kRows * 16, 448.0F);
  const std::vector<Float8E4M3> b(4 * 16, to_float8_e4m3(1.0F));
  const std::vector<float> scale_b{1.0F};
  std::vector<float> c(kRows * 4, -1.0F);
  const std::size_t bytes = gemm.workspace_bytes(kRows);
  alignas(16) std::byte workspace[256];
  ASSERT_LE(bytes, sizeof(workspace));
  std::fill(std::begin(workspace), std::end(workspace), std::byte{0xa5});
  const std::vector<std::int64_t> segments{3, 4};
  const std::vector<std::int64_t> experts{0};
  GroupedGemmArgs args{.a = view(a.data(), kRows, 16),
                       .b = view(b.data(), 4, 16),
                       .c = view(c.data(), kRows, 4),
                       .seg_indptr = segments,
                       .weight_indices = experts,
                       .scale_b = scale_b,
                       .workspace = {workspace, bytes}};
  const auto status = gemm(args);
  ASSERT_TRUE(status) << status.error().message;
  for (std::size_t i = 0; i < c.size(); ++i) EXPECT_EQ(c[i], i / 4 == 3 ? 448.0F * 16 : -1.0F) << i;
  for (std::size_t i = 0; i < kRows * 16; ++i) EXPECT_EQ(workspace[i] == std::byte{0xa5}, i / 16 != 3) << i;
  args.seg_indptr = args.seg_indptr.first(1);
  args.weight_indices = {};
  EXPECT_TRUE(gemm(args)) << "no group at all";
}

TEST(AFirstOffset, BelowZeroIsRefusedAndPastTheRowsToo) {
  const Problem problem{.experts = 2, .n = 4, .k = 4, .dtype = DType::float32};
  const GroupedGemm gemm = prepared(problem);
  const std::vector<float> a(2 * 4);
  const std::vector<float> b(2 * 4 * 4);
  std::vector<float> c(2 * 4);
  const std::vector<std::int64_t> experts{1};
  const auto refusal = [&](const std::vector<std::int64_t>& segments) {
    const Status status = gemm({.a = view(a.data(), 2, 4),
                                .b = view(b.data(), 2 * 4, 4),
                                .c = view(c.data(), 2, 4),
                                .seg_indptr = segments,
                                .weight_indices = experts});
    return status ? "nothing" : status.error().message;
  };
  EXPECT_EQ(refusal({-3, 1}), "seg_indptr[0] is -3, it must be 0 or more");
  EXPECT_EQ(refusal({3, 3}), "seg_indptr[1] is 3, A has only 2 rows");
  EXPECT_EQ(refusal({2, 1}), "seg_indptr[1] is 1, it must not be less than seg_indptr[0] = 2");
  EXPECT_EQ(refusal({1, 2}), "nothing");
  EXPECT_EQ(refusal({2, 2}), "nothing");
}

}  // namespace
}  // namespace expertile::testing
