// Of a file whose place is right: which of its tiles are exact, and what the others were tuned for.

#include "store/conditions.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "store/lookup.hpp"
#include "store/temporary_directory.hpp"

namespace expertile {
namespace {

const TileConfig kTile{16, 64, 256, 1, 1, 1};

DeviceInfo cpu(CpuIsa isa, int threads) { return {"dev", CpuInfo{.isa = isa, .threads = threads}, 0, {}}; }

class ConditionsTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path path_of(Scales scales) const {
    Problem other = problem_;
    other.scales = scales;
    return config_path(directory_.path(), "dev", other);
  }
  [[nodiscard]] LookUp find() const { return look_up({directory_.path()}, device_, problem_); }
  [[nodiscard]] Selection chosen(std::int64_t batch) const { return choose(find(), problem_, batch * problem_.top_k); }
  void put(const std::filesystem::path& path, std::int64_t batch, const Metadata& metadata) const {
    ASSERT_TRUE(merge_into(path, {{batch, kTile}}, metadata));
  }
  // Of a file that says so.
  [[nodiscard]] Selection said(const Metadata& metadata) const {
    const auto path = path_of(Scales::per_tensor);
    std::filesystem::remove(path);
    put(path, 16, metadata);
    return chosen(16);
  }

  TemporaryDirectory directory_;
  Problem problem_{.experts = 16, .n = 512, .k = 512, .dtype = DType::fp8_w8a8, .top_k = 8};
  DeviceInfo device_ = cpu(CpuIsa::avx512, 2);
};

TEST_F(ConditionsTest, WhatAFileDoesNotSayCountsAsTheSame) {
  EXPECT_EQ(said({}).match, Match::exact);
  EXPECT_EQ(said({{"device", "other"}, {"routing", "zipf:2"}, {"seed", "9"}}).match, Match::exact)
      << "nor is every word compared";
  EXPECT_EQ(said({{"isa", "avx512"}, {"scales", "per_tensor"}, {"threads", "2"}, {"top_k", "8"}}).match, Match::exact);
}

TEST_F(ConditionsTest, EachThatDiffersHasAMatchAndAText) {
  struct Case {
    Metadata metadata;
    Match match;
    std::string text;
  };
  const Case cases[] = {
      {{{"top_k", "2"}}, Match::other_top_k, "tuned at top_k 2, this is 8"},
      {{{"threads", "4"}}, Match::other_threads, "tuned at threads 4, this is 2"},
      {{{"scales", "per_token_channel"}}, Match::other_scales, "tuned at scales per_token_channel, this is per_tensor"},
      {{{"isa", "avx2"}}, Match::other_instructions, "tuned at isa avx2, this is avx512"},
      {{{"isa", "avx2"}, {"top_k", "2"}},
       Match::other_instructions,
       "tuned at isa avx2, this is avx512; tuned at top_k 2, this is 8"}};
  for (const Case& one : cases) {
    const Selection selection = said(one.metadata);
    EXPECT_EQ(selection.match, one.match) << one.text;
    EXPECT_EQ(selection.differs, one.text);
    EXPECT_EQ(selection.tile, kTile) << "used all the same";
    EXPECT_EQ(chosen(17).match, one.match) << "another batch size is no excuse";
  }
}

TEST_F(ConditionsTest, HostileTextBreaksNoLine) {
  const std::string text = said({{"top_k", "2\n\x1b[31m" + std::string(1000, 'x')}}).differs;
  EXPECT_EQ(text, "tuned at top_k \"2\\n\\u001b[31m" + std::string(46, 'x') + "..., this is 8");
}

TEST_F(ConditionsTest, OfAGpuAreItsArchitectureAndMultiprocessors) {
  const DeviceInfo gpu{"dev", GpuInfo{.compute_capability = 90, .multiprocessors = 114}, 0, {}};
  const auto differs = [&](const Metadata& metadata) { return difference(metadata, conditions_of(problem_, gpu)); };
  EXPECT_EQ(differs({{"isa", "sm_90a"}, {"threads", "114"}}).match, Match::exact);
  EXPECT_EQ(differs({{"threads", "132"}}).match, Match::other_threads);
  EXPECT_EQ(differs({{"threads", "132"}}).text, "tuned at multiprocessors 132, this is 114");
  EXPECT_EQ(differs({{"isa", "sm_80"}}).match, Match::other_instructions);
}

TEST_F(ConditionsTest, AreOfTheBatchSizeThatIsTaken) {
  const auto path = path_of(Scales::per_tensor);
  put(path, 1, {{"top_k", "2"}});
  put(path, 16, {{"top_k", "8"}});
  EXPECT_EQ(chosen(1).match, Match::other_top_k);
  EXPECT_EQ(chosen(1).differs, "tuned at top_k 2, this is 8");
  EXPECT_EQ(chosen(2).match, Match::other_top_k) << "the nearest, whatever it was tuned for";
  EXPECT_EQ(chosen(16).match, Match::exact);
  EXPECT_EQ(chosen(16).differs, "");
  EXPECT_EQ(chosen(17).match, Match::nearest_batch);
}

TEST_F(ConditionsTest, ScalesHaveAFileEachAndBothAreExact) {
  put(path_of(Scales::per_tensor), 16, {{"scales", "per_tensor"}});
  put(path_of(Scales::per_token_channel), 16, {{"scales", "per_token_channel"}});
  for (const Scales scales : {Scales::per_tensor, Scales::per_token_channel}) {
    problem_.scales = scales;
    EXPECT_EQ(chosen(16).match, Match::exact);
    EXPECT_EQ(chosen(16).file, path_of(scales));
  }
}

TEST_F(ConditionsTest, WithoutAFileOfItsScalesTakesOneOfOthers) {
  put(path_of(Scales::per_token_channel), 16, {});
  EXPECT_EQ(chosen(16).match, Match::other_scales);
  EXPECT_EQ(chosen(16).differs, "tuned at scales per_token_channel, this is per_tensor") << "as the folder says";
}

TEST_F(ConditionsTest, AnOldFileIsExactForTheScalesThatItsMetadataName) {
  const auto old = path_of(Scales::per_tensor);  // where earlier versions put all
  put(old, 16, {{"scales", "per_token_channel"}});
  EXPECT_EQ(chosen(16).match, Match::other_scales);
  problem_.scales = Scales::per_token_channel;
  EXPECT_EQ(chosen(16).match, Match::exact);
  EXPECT_EQ(chosen(16).file, old);
  put(path_of(Scales::per_token_channel), 1, {{"scales", "per_token_channel"}});
  EXPECT_EQ(chosen(16).file, path_of(Scales::per_token_channel)) << "the own folder goes before";
}

TEST_F(ConditionsTest, AnOldFileThatNamesNoScalesIsOfTheUsualOnes) {
  put(path_of(Scales::per_tensor), 16, {{"device", "dev"}});
  EXPECT_EQ(chosen(16).match, Match::exact);
  problem_.scales = Scales::per_token_channel;
  EXPECT_EQ(chosen(16).match, Match::other_scales);
  EXPECT_EQ(chosen(16).differs, "tuned at scales per_tensor, this is per_token_channel");
}

TEST_F(ConditionsTest, TuningOverAnOldFileLeavesItsOtherBatchSizesWhatTheyAre) {
  const auto old = path_of(Scales::per_tensor);
  put(old, 1, {{"scales", "per_token_channel"}});
  put(old, 64, {{"scales", "per_tensor"}});
  EXPECT_EQ(chosen(1).match, Match::other_scales);
  EXPECT_EQ(chosen(64).match, Match::exact);
  problem_.scales = Scales::per_token_channel;
  EXPECT_EQ(chosen(1).match, Match::exact);
  EXPECT_EQ(chosen(64).match, Match::other_scales);
}

TEST_F(ConditionsTest, AnExactFileInALaterDirectoryGoesBeforeAnotherInAnEarlierOne) {
  const TemporaryDirectory installed;
  const auto find_in_both = [&] { return look_up({directory_.path(), installed.path()}, device_, problem_); };
  const auto shipped = config_path(installed.path(), "dev", problem_);
  const auto users = path_of(Scales::per_tensor);
  put(users, 16, {{"threads", "4"}});
  put(shipped, 16, {{"top_k", "2"}});
  EXPECT_EQ(find_in_both().file, shipped) << "another top_k is less bad than other threads";
  put(shipped, 16, {{"threads", "4"}});
  EXPECT_EQ(find_in_both().file, users) << "of equals the first";
  put(shipped, 64, {{"threads", "2"}});
  EXPECT_EQ(find_in_both().file, shipped) << "a file counts as its best tile";
  put(users, 16, {{"threads", "2"}});
  EXPECT_EQ(find_in_both().file, users);
}

TEST_F(ConditionsTest, AFileOfTheShapeGoesBeforeOneOfNone) {
  put_text(directory_.path() / "dev" / config_file_name(problem_),
           R"({"16": {"BLOCK_SIZE_M": 16, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 256}, "metadata": {"top_k": "2"}})");
  EXPECT_EQ(chosen(16).match, Match::other_shape);
  EXPECT_EQ(chosen(16).differs, "the file's place names no shape; tuned at top_k 2, this is 8");
  put(path_of(Scales::per_tensor), 16, {{"isa", "portable"}});
  EXPECT_EQ(chosen(16).match, Match::other_instructions);
}

TEST_F(ConditionsTest, TheLineForALogSaysWhatIsUsedInsteadAndHowToMakeIt) {
  const auto line = [&] { return missing_line(find(), "make"); };
  const std::string own = path_of(Scales::per_tensor).string();
  const std::string others = path_of(Scales::per_token_channel).string();
  EXPECT_EQ(line(), "no tuned configuration at " + own + "; using built_in; to make it: make");
  put(others, 16, {});
  EXPECT_EQ(line(), "no tuned configuration at " + own + "; using other_scales from " + others +
                        " (tuned at scales per_token_channel, this is per_tensor); to make it: make");
  put(own, 16, {{"top_k", "2"}});
  put(own, 32, {{"top_k", "8"}});
  EXPECT_EQ(line(), "1 of 2 batch sizes of " + own +
                        " were tuned for something else; using other_top_k (tuned at top_k 2, this is 8); to make "
                        "them: make");
  put(own, 16, {{"top_k", "8"}});
  EXPECT_EQ(line(), "");
}

}  // namespace
}  // namespace expertile
