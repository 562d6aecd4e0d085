#include "expertile/grouped_gemm.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vector>

#include "backend/backend.hpp"
#include "plan/candidates.hpp"
#include "store/config_file.hpp"
#include "store/lookup.hpp"
#include "store/temporary_directory.hpp"
#include "store/tune_command.hpp"

namespace expertile {
namespace {

const Problem kProblem{.experts = 4, .n = 64, .k = 32, .dtype = DType::float32, .top_k = 2};

GroupedGemm prepared(const TemporaryDirectory& directory) {
  return GroupedGemm::prepare(kProblem, {.device = "cpu", .threads = 1, .config_dir = directory.path()}).value();
}

TEST(GroupedGemm, WithoutAFileRunsTheBuiltInTile) {
  const TemporaryDirectory directory;
  const GroupedGemm gemm = prepared(directory);
  const Selection selection = gemm.selection(32);
  EXPECT_EQ(selection.match, Match::built_in);
  EXPECT_TRUE(selection.file.empty());
  EXPECT_EQ(gemm.problem().n, 64);
  EXPECT_EQ(gemm.wanted_file().filename(), "grouped_gemm_config_32_float32.json");
}

TEST(GroupedGemm, PicksUpAFileThatWasMadeForTheProblem) {
  const TemporaryDirectory directory;
  const TileConfig tile{16, 64, 256, 1, 1, 1};
  ASSERT_TRUE(merge_into(prepared(directory).wanted_file(), {{16, tile}}, {}));
  const GroupedGemm gemm = prepared(directory);
  EXPECT_EQ(gemm.selection(32).match, Match::exact);
  EXPECT_EQ(gemm.selection(32).batch, 16);
  EXPECT_EQ(gemm.selection(32).tile, tile);
  EXPECT_EQ(gemm.selection(32).file, gemm.wanted_file());
  EXPECT_EQ(gemm.selection(40).match, Match::nearest_batch);
  EXPECT_EQ(gemm.selection(-5).match, Match::nearest_batch);
}

TEST(GroupedGemm, TakesCOfTheTypeAloneThatItWasPreparedFor) {
  const TemporaryDirectory directory;
  const auto prepare = [&](ElementType c_type) {
    return GroupedGemm::prepare(kProblem,
                                {.device = "cpu", .threads = 1, .config_dir = directory.path(), .c_type = c_type});
  };
  const std::vector<float> a(32);
  const std::vector<float> b(4 * 64 * 32);
  std::vector<float> c(64);
  const std::vector<std::int64_t> segments{0, 1};
  const std::vector<std::int64_t> experts{2};
  GroupedGemmArgs args{.a = view(a.data(), 1, 32),
                       .b = view(b.data(), 4 * 64, 32),
                       .c = view(c.data(), 1, 64),
                       .seg_indptr = segments,
                       .weight_indices = experts};
  const auto gemm = prepare(ElementType::float32);
  ASSERT_TRUE(gemm) << gemm.error().message;
  EXPECT_TRUE((*gemm)(args));
  args.c.type = ElementType::bfloat16;
  const Status other = (*gemm)(args);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().message, "C is bfloat16, the operation was prepared for C in float32");
  const auto wrong = prepare(ElementType::int8);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message, "C cannot be int8, of this problem it can be bfloat16, float16, float32");
}

TEST(GroupedGemm, LogsOnceAProblemWhichFileIsMissingAndHowToMakeIt) {
  const TemporaryDirectory directory;
  ::testing::internal::CaptureStderr();
  const std::string wanted = prepared(directory).wanted_file().string();
  const std::string first = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(first.find("no tuned configuration at " + wanted + "; using built_in; to make it: " +
                       tune_command(kProblem) + " --device cpu --threads 1 --output-dir " + directory.path().string()),
            std::string::npos)
      << first;
  ::testing::internal::CaptureStderr();
  static_cast<void>(prepared(directory));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST(GroupedGemm, LogsNothingWhenTheFileIsThere) {
  const TemporaryDirectory directory;
  const auto wanted = look_up({directory.path()}, open_backend("cpu", 1).value()->info(), kProblem).wanted;
  ASSERT_TRUE(merge_into(wanted, {{16, TileConfig{16, 64, 256, 1, 1, 1}}}, {}));
  ::testing::internal::CaptureStderr();
  static_cast<void>(prepared(directory));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST(GroupedGemm, LogsOnceWhyAFileWasPassedOver) {
  const TemporaryDirectory directory;
  const auto wanted = look_up({directory.path()}, open_backend("cpu", 1).value()->info(), kProblem).wanted;
  put_text(wanted, "oops");
  ::testing::internal::CaptureStderr();
  static_cast<void>(prepared(directory));
  static_cast<void>(prepared(directory));
  const std::string log = ::testing::internal::GetCapturedStderr();
  const std::string line = wanted.string() + ": not valid JSON at line 1, column 1; the file is not used";
  ASSERT_NE(log.find(line), std::string::npos) << log;
  EXPECT_EQ(log.find(line, log.find(line) + 1), std::string::npos) << log;
}

TEST(GroupedGemm, MultipliesAndRefusesWhatDisagrees) {
  const TemporaryDirectory directory;
  const GroupedGemm gemm = prepared(directory);
  const std::vector<float> a(3 * 32, 1.0F);
  const std::vector<float> b(4 * 64 * 32, 2.0F);
  std::vector<float> c(3 * 64, -1.0F);
  const std::vector<std::int64_t> segments = {0, 1, 2};
  const std::vector<std::int64_t> experts = {3, 0};
  GroupedGemmArgs args{.a = view(a.data(), 3, 32),
                       .b = view(b.data(), 4 * 64, 32),
                       .c = view(c.data(), 3, 64),
                       .seg_indptr = segments,
                       .weight_indices = experts,
                       .scale_a = {},
                       .scale_b = {}};
  const auto status = gemm(args);
  ASSERT_TRUE(status) << status.error().message;
  for (std::size_t i = 0; i < c.size(); ++i) EXPECT_EQ(c[i], i < 2 * 64 ? 64.0F : -1.0F) << i;
  args.a.data = nullptr;
  const auto refused = gemm(args);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
}

TEST(GroupedGemm, RefusesAnImpossibleProblem) {
  const auto gemm = GroupedGemm::prepare({.experts = 0});
  ASSERT_FALSE(gemm);
  EXPECT_EQ(gemm.error().code, ErrorCode::invalid_argument);
}

TEST(GroupedGemm, LogsOnceThatATileWasTunedForSomethingElseAndSaysSoToItsCaller) {
  const TemporaryDirectory directory;
  const std::string wanted = prepared(directory).wanted_file().string();
  ASSERT_TRUE(merge_into(wanted, {{16, TileConfig{16, 64, 256, 1, 1, 1}}}, {{"top_k", "4"}}));
  Problem problem = kProblem;
  problem.top_k = 3;
  const auto prepare = [&] {
    return GroupedGemm::prepare(problem, {.device = "cpu", .threads = 1, .config_dir = directory.path()}).value();
  };
  ::testing::internal::CaptureStderr();
  const Selection selection = prepare().selection(48);
  static_cast<void>(prepare());
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(selection.match, Match::other_top_k);
  EXPECT_EQ(selection.differs, "tuned at top_k 4, this is 3");
  const std::string line = "1 of 1 batch sizes of " + wanted +
                           " were tuned for something else; using other_top_k (tuned at top_k 4, this is 3); to make "
                           "them: expertile tune --hidden-size 32 --num-experts 4 --intermediate-size 32 --top-k 3 "
                           "--dtype float32 --projection gate_up --device cpu --threads 1 --output-dir " +
                           directory.path().string() + "\n";
  ASSERT_NE(log.find(line), std::string::npos) << log;
  EXPECT_EQ(log.find(line, log.find(line) + 1), std::string::npos) << log;
}

TEST(Match, HasANameForEveryValue) {
  EXPECT_EQ(name(Match::exact), "exact");
  EXPECT_EQ(name(Match::nearest_batch), "nearest_batch");
  EXPECT_EQ(name(Match::other_top_k), "other_top_k");
  EXPECT_EQ(name(Match::other_threads), "other_threads");
  EXPECT_EQ(name(Match::other_scales), "other_scales");
  EXPECT_EQ(name(Match::other_instructions), "other_instructions");
  EXPECT_EQ(name(Match::other_shape), "other_shape");
  EXPECT_EQ(name(Match::other_device), "other_device");
  EXPECT_EQ(name(Match::built_in), "built_in");
}

}  // namespace
}  // namespace expertile
