// The front door with the other row layouts, on a CPU: masked rows, and offsets in 32 bits.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "backend/reference.hpp"
#include "expertile/grouped_gemm.hpp"
#include "support/random_problem.hpp"

namespace expertile::testing {
namespace {

GroupedGemm prepared(const Problem& problem, RowLayout layout) {
  return GroupedGemm::prepare(problem,
                              {.device = "cpu", .threads = 2, .config_dir = "/nonexistent", .row_layout = layout})
      .value();
}

class RowLayouts : public ::testing::TestWithParam<std::tuple<RowLayout, Combination>> {
 protected:
  static void SetUpTestSuite() { ::testing::internal::CaptureStderr(); }  // there are no files for these problems
  static void TearDownTestSuite() { static_cast<void>(::testing::internal::GetCapturedStderr()); }
};

TEST_P(RowLayouts, AgreeWithTheReferenceOnRandomRaggedProblems) {
  const auto& [layout, combination] = GetParam();
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    RandomProblem random(combination, seed, {.rows = layout});
    SCOPED_TRACE(random.describe());
    GroupedGemmArgs args = random.args();
    args.expected_rows = static_cast<std::int64_t>(seed % 3) * 100;  // right or not
    const auto valid = validate(random.problem(), args);
    ASSERT_TRUE(valid) << valid.error().message;
    const auto status = prepared(random.problem(), layout)(args);
    ASSERT_TRUE(status) << status.error().message;
    ASSERT_EQ(random.overwritten(), 0);
    ASSERT_LE(worst_error_over_bound(random.problem(), args, reference_grouped_gemm(random.problem(), args)), 1.0);
  }
}

INSTANTIATE_TEST_SUITE_P(, RowLayouts,
                         ::testing::Combine(::testing::Values(RowLayout::offsets_32, RowLayout::masked),
                                            ::testing::ValuesIn(all_combinations())),
                         [](const auto& entry) {
                           return std::string(name(std::get<0>(entry.param))) + "_" + std::get<1>(entry.param).name;
                         });

// Two experts of [4, 4], three rows each.
class RowLayoutCall : public ::testing::Test {
 protected:
  [[nodiscard]] GroupedGemmArgs call() {
    return {.a = view(a_.data(), 6, 4), .b = view(b_.data(), 2 * 4, 4), .c = view(c_.data(), 6, 4)};
  }
  [[nodiscard]] GroupedGemmArgs masked_call() {
    GroupedGemmArgs args = call();
    args.masked_m = masked_m_;
    args.max_m = 3;
    return args;
  }
  static std::string refusal(const GroupedGemm& gemm, const GroupedGemmArgs& args) {
    const Status status = gemm(args);
    return status ? "nothing" : status.error().message;
  }
  [[nodiscard]] std::string refusal(const GroupedGemmArgs& args) const {
    const Status status = validate(problem_, args);
    return status ? "nothing" : status.error().message;
  }

  const Problem problem_{.experts = 2, .n = 4, .k = 4, .dtype = DType::float32};
  std::vector<float> a_ = std::vector<float>(24, 1.0F);
  std::vector<float> b_ = std::vector<float>(32, 2.0F);
  std::vector<float> c_ = std::vector<float>(24, -1.0F);
  std::vector<std::int32_t> masked_m_{2, 1};
  std::vector<std::int32_t> segments_{1, 3, 6};
  std::vector<std::int64_t> long_segments_{0, 3, 6};
  std::vector<std::int64_t> experts_{1, 0};
};

TEST_F(RowLayoutCall, WritesTheRowsThatAreThereAlone) {
  const GroupedGemm gemm = prepared(problem_, RowLayout::masked);
  ASSERT_EQ(refusal(gemm, masked_call()), "nothing");
  for (std::size_t i = 0; i < c_.size(); ++i) {
    const std::size_t row = i / 4;
    EXPECT_EQ(c_[i], row == 0 || row == 1 || row == 3 ? 8.0F : -1.0F) << "row " << row;
  }
}

TEST_F(RowLayoutCall, TakesTheExpertsOfItsGroupsWhereTheyAreGiven) {
  std::fill(b_.begin() + 16, b_.end(), 3.0F);
  GroupedGemmArgs args = masked_call();
  args.weight_indices = experts_;
  ASSERT_EQ(refusal(prepared(problem_, RowLayout::masked), args), "nothing");
  EXPECT_EQ(c_[0], 12.0F);
  EXPECT_EQ(c_[12], 8.0F);
}

TEST_F(RowLayoutCall, HasTheArrayThatTheOperationWasPreparedFor) {
  GroupedGemmArgs short_offsets = call();
  short_offsets.seg_indptr_32 = segments_;
  short_offsets.weight_indices = experts_;
  GroupedGemmArgs offsets = call();
  offsets.seg_indptr = long_segments_;
  offsets.weight_indices = experts_;
  const GroupedGemm by_offsets = prepared(problem_, RowLayout::offsets);
  const GroupedGemm by_short_offsets = prepared(problem_, RowLayout::offsets_32);
  const GroupedGemm by_masks = prepared(problem_, RowLayout::masked);
  EXPECT_EQ(refusal(by_offsets, offsets), "nothing");
  EXPECT_EQ(refusal(by_short_offsets, short_offsets), "nothing");
  EXPECT_EQ(refusal(by_offsets, masked_call()),
            "masked_m is given, the operation was prepared for row layout 'offsets', whose array is seg_indptr");
  EXPECT_EQ(refusal(by_masks, short_offsets),
            "seg_indptr_32 is given, the operation was prepared for row layout 'masked', whose array is masked_m");
  EXPECT_EQ(refusal(by_short_offsets, offsets),
            "seg_indptr is given, the operation was prepared for row layout 'offsets_32', whose array is "
            "seg_indptr_32");
  EXPECT_EQ(refusal(by_masks, call()), "masked_m is not given, the operation was prepared for row layout 'masked'");
}

TEST_F(RowLayoutCall, WithAMaskThatCannotBeRightIsRefused) {
  const auto with = [this](auto&& change) {
    GroupedGemmArgs args = masked_call();
    change(args);
    return refusal(args);
  };
  EXPECT_EQ(with([](GroupedGemmArgs&) {}), "nothing");
  EXPECT_EQ(with([](GroupedGemmArgs& args) { args.max_m = 4; }),
            "A has 6 rows, it must have max_m = 4 for each of masked_m's 2 groups");
  EXPECT_EQ(with([](GroupedGemmArgs& args) { args.max_m = -1; }), "max_m is -1, it must be 0 or more");
  EXPECT_EQ(with([](GroupedGemmArgs& args) { args.expected_rows = -1; }), "expected_rows is -1, it must be 0 or more");
  EXPECT_EQ(with([this](GroupedGemmArgs& args) { args.seg_indptr = long_segments_; }),
            "seg_indptr and masked_m are given, one array tells which rows are a group's");
  EXPECT_EQ(with([this](GroupedGemmArgs& args) { args.seg_indptr_32 = segments_; }),
            "seg_indptr_32 and masked_m are given, one array tells which rows are a group's");
  EXPECT_EQ(
      with([this](GroupedGemmArgs& args) { args.weight_indices = std::span(experts_).first(1); }),
      "weight_indices has 1 entries, masked_m's 2 counts are of 2 groups; give one each, or none where group g is "
      "expert g");
  const std::vector<std::int32_t> many(6, 1);
  EXPECT_EQ(with([&many](GroupedGemmArgs& args) {
              args.masked_m = many;
              args.max_m = 1;
            }),
            "masked_m has 6 entries, without weight_indices group g is expert g of 2");
  masked_m_ = {2, 4};
  EXPECT_EQ(refusal(masked_call()), "masked_m[1] is 4, it must be from 0 to max_m = 3");
  masked_m_ = {-1, 0};
  EXPECT_EQ(refusal(masked_call()), "masked_m[0] is -1, it must be from 0 to max_m = 3");
  const std::vector<std::int64_t> foreign{0, 2};
  masked_m_ = {2, 1};
  EXPECT_EQ(with([&foreign](GroupedGemmArgs& args) { args.weight_indices = foreign; }),
            "weight_indices[1] is 2, it must be from 0 to 1");
}

TEST_F(RowLayoutCall, WithOffsetsIn32BitsThatCannotBeRightIsRefused) {
  const auto with = [this](std::vector<std::int32_t> segments) {
    GroupedGemmArgs args = call();
    args.seg_indptr_32 = segments;
    args.weight_indices = experts_;
    return refusal(args);
  };
  EXPECT_EQ(with({1, 3, 6}), "nothing");
  EXPECT_EQ(with({-1, 3, 6}), "seg_indptr_32[0] is -1, it must be 0 or more");
  EXPECT_EQ(with({1, 0, 6}), "seg_indptr_32[1] is 0, it must not be less than seg_indptr_32[0] = 1");
  EXPECT_EQ(with({1, 3, 7}), "seg_indptr_32[2] is 7, A has only 6 rows");
  EXPECT_EQ(with({1, 3}), "weight_indices has 2 entries, seg_indptr_32's 2 offsets make 1 groups");
  GroupedGemmArgs args = call();
  args.seg_indptr_32 = segments_;
  args.weight_indices = experts_;
  args.max_m = 3;
  EXPECT_EQ(refusal(args), "max_m is 3, it goes with masked_m alone, seg_indptr_32 is given");
}

// With a block shape A is quantised first: rows behind a count are not.
TEST(MaskedRows, ThatAreNotThereAreNotQuantised) {
  const Problem problem{.experts = 2, .n = 4, .k = 16, .dtype = DType::float32, .block_shape = BlockShape{4, 16}};
  const GroupedGemm gemm = prepared(problem, RowLayout::masked);
  const std::vector<float> a(4 * 16, 448.0F);
  const std::vector<Float8E4M3> b(2 * 4 * 16, to_float8_e4m3(1.0F));
  const std::vector<float> scale_b(2, 1.0F);
  std::vector<float> c(4 * 4, -1.0F);
  alignas(16) std::byte workspace[256];
  const std::size_t bytes = gemm.workspace_bytes(4);
  ASSERT_LE(bytes, sizeof(workspace));
  std::fill(std::begin(workspace), std::end(workspace), std::byte{0xa5});
  const std::vector<std::int32_t> masked_m{1, 1};
  const auto status = gemm({.a = view(a.data(), 4, 16),
                            .b = view(b.data(), 2 * 4, 16),
                            .c = view(c.data(), 4, 4),
                            .scale_b = scale_b,
                            .workspace = {workspace, bytes},
                            .masked_m = masked_m,
                            .max_m = 2});
  ASSERT_TRUE(status) << status.error().message;
  for (std::size_t i = 0; i < 4 * 16; ++i) EXPECT_EQ(workspace[i] == std::byte{0xa5}, i / 16 % 2 == 1) << i;
  for (std::size_t i = 0; i < c.size(); ++i) EXPECT_EQ(c[i], i / 4 % 2 == 0 ? 448.0F * 16 : -1.0F) << i;
}

}  // namespace
}  // namespace expertile::testing
