#include "store/lookup.hpp"

#include <gtest/gtest.h>

#include "plan/candidates.hpp"
#include "store/config_file.hpp"
#include "store/temporary_directory.hpp"

namespace expertile {
namespace {

constexpr const char* kGood = R"({"16": {"BLOCK_SIZE_M": 16, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 256}})";

class LookUpTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path exact() const { return config_path(directory_.path(), "dev", problem_); }
  [[nodiscard]] std::filesystem::path of_device() const {
    return directory_.path() / "dev" / config_file_name(problem_);
  }
  [[nodiscard]] std::filesystem::path of_directory() const { return directory_.path() / config_file_name(problem_); }
  [[nodiscard]] LookUp find() const { return look_up({directory_.path()}, device_, problem_); }

  TemporaryDirectory directory_;
  Problem problem_{.experts = 4, .n = 512, .k = 512};
  DeviceInfo device_{"dev", CpuInfo{}, 0, {}};
};

TEST_F(LookUpTest, WithoutAFileIsBuiltIn) {
  const LookUp found = find();
  EXPECT_EQ(found.place, Match::built_in);
  EXPECT_EQ(found.wanted, exact());
  EXPECT_TRUE(found.warnings.empty());
  const Selection selection = choose(found, problem_, 32);
  EXPECT_EQ(selection.match, Match::built_in);
  EXPECT_EQ(selection.tile, built_in_tile(problem_, 32, device_));
  EXPECT_EQ(selection.batch, 0);
  EXPECT_TRUE(selection.file.empty());
}

TEST_F(LookUpTest, WorksOutNoBuiltInTileBesideAFile) {
  EXPECT_EQ(find().built_in->known_steps(), 0) << "none before rows are known";
  put_text(exact(), kGood);
  LookUp found = find();
  EXPECT_EQ(found.built_in, nullptr);
  use_built_in(found, problem_, device_);  // the file's tiles turn out not to run
  const Selection selection = choose(found, problem_, 32);
  EXPECT_EQ(selection.match, Match::built_in);
  EXPECT_TRUE(selection.file.empty());
  EXPECT_EQ(selection.tile, built_in_tile(problem_, 32, device_));
  EXPECT_EQ(found.built_in->known_steps(), 1);
}

TEST_F(LookUpTest, DropsATileThatHasAFieldOfAnotherFamilyWithAWarning) {
  put_text(exact(), R"({"1": {"BLOCK_SIZE_M": 16, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 256, "SPLIT_K": 2}})");
  EXPECT_EQ(find().place, Match::built_in);
  EXPECT_EQ(find().warnings.at(0),
            exact().string() + ": the tile of batch size 1 is not used: SPLIT_K=2 is not a field of family cpu");
}

TEST_F(LookUpTest, TakesTheFirstOfTheThreePlaces) {
  put_text(of_directory(), kGood);
  EXPECT_EQ(find().place, Match::other_device);
  EXPECT_EQ(choose(find(), problem_, 32).match, Match::other_device);
  EXPECT_EQ(find().file, of_directory());
  put_text(of_device(), kGood);
  EXPECT_EQ(find().place, Match::other_shape);
  EXPECT_EQ(choose(find(), problem_, 32).match, Match::other_shape);
  put_text(exact(), kGood);
  EXPECT_EQ(find().place, Match::exact);
  EXPECT_EQ(choose(find(), problem_, 32).match, Match::exact);
  EXPECT_EQ(choose(find(), problem_, 32).file, exact());
  EXPECT_EQ(choose(find(), problem_, 34).match, Match::nearest_batch);
}

TEST_F(LookUpTest, TakesAnInstalledPackagesFileWhereItMatchesBetter) {
  const TemporaryDirectory installed;
  const auto find_in_both = [&] { return look_up({directory_.path(), installed.path()}, device_, problem_); };
  put_text(of_directory(), kGood);
  EXPECT_EQ(find_in_both().file, of_directory());
  const auto shipped = config_path(installed.path(), "dev", problem_);
  put_text(shipped, kGood);
  EXPECT_EQ(find_in_both().place, Match::exact);
  EXPECT_EQ(find_in_both().file, shipped);
  EXPECT_EQ(find_in_both().wanted, exact());
  put_text(exact(), kGood);
  EXPECT_EQ(find_in_both().file, exact());
}

TEST_F(LookUpTest, PassesOverARefusedFileWithAWarning) {
  put_text(exact(), "{");
  put_text(of_device(), R"({"metadata": {"schema": 9}})");
  put_text(of_directory(), "{}");
  const LookUp found = find();
  EXPECT_EQ(found.place, Match::built_in);
  EXPECT_EQ(found.warnings,
            (std::vector<std::string>{
                exact().string() + ": not valid JSON at line 1, column 2; the file is not used",
                of_device().string() +
                    ": schema 9 is newer than schema 1, the newest that this version reads; the file is not used",
                of_directory().string() + ": no usable tile; the file is not used"}));
}

TEST_F(LookUpTest, DropsATileThatTheProblemRefusesWithAWarning) {
  const TileConfig impossible{65536, 65536, 65536, 1, 1, 1};
  const Status refused = check_tile(problem_, impossible, device_);
  ASSERT_FALSE(refused);
  ASSERT_TRUE(merge_into(exact(), {{1, impossible}}, {}));
  put_text(of_device(), kGood);
  EXPECT_EQ(find().place, Match::other_shape);
  const std::string warning = exact().string() + ": the tile of batch size 1 is not used: " + refused.error().message;
  EXPECT_EQ(find().warnings,
            (std::vector<std::string>{warning, exact().string() + ": no usable tile; the file is not used"}));
  ASSERT_TRUE(merge_into(exact(), {{8, TileConfig{16, 64, 256, 1, 1, 1}}}, {}));
  EXPECT_EQ(find().place, Match::exact);
  EXPECT_EQ(find().warnings, (std::vector<std::string>{warning}));
  EXPECT_EQ(find().tiles.size(), 1U);
}

TEST_F(LookUpTest, ChoosesTheNearestBatchSizeByRatio) {
  LookUp found;
  found.place = Match::exact;
  for (const std::int64_t batch : {1, 4, 16, 64}) found.tiles[batch] = {};
  problem_.top_k = 2;
  const auto batch_of = [&](std::int64_t rows) { return choose(found, problem_, rows).batch; };
  EXPECT_EQ(batch_of(0), 1);
  EXPECT_EQ(batch_of(1), 1);
  EXPECT_EQ(batch_of(2), 1);
  EXPECT_EQ(batch_of(3), 1);
  EXPECT_EQ(batch_of(4), 4) << "batch 2 is as far from 1 as from 4: the larger";
  EXPECT_EQ(batch_of(15), 4);
  EXPECT_EQ(batch_of(16), 16);
  EXPECT_EQ(batch_of(17), 16);
  EXPECT_EQ(batch_of(1'000'000'000'000), 64);
  EXPECT_EQ(choose(found, problem_, 8).match, Match::exact);
  EXPECT_EQ(choose(found, problem_, 9).match, Match::nearest_batch);
  EXPECT_EQ(choose(found, problem_, 0).match, Match::nearest_batch);
}

}  // namespace
}  // namespace expertile
