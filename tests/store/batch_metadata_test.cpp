// What batch sizes of different runs say of themselves in one file.

#include <gtest/gtest.h>

#include "store/config_file.hpp"
#include "store/temporary_directory.hpp"

namespace expertile {
namespace {

const Metadata kFirst = {{"date", "monday"}, {"scales", "per_token_channel"}, {"top_k", "2"}};
const Metadata kSecond = {{"date", "tuesday"}, {"scales", "per_tensor"}, {"threads", "4"}, {"top_k", "2"}};

class BatchMetadata : public ::testing::Test {
 protected:
  void merge(const std::vector<std::int64_t>& batches, const Metadata& metadata) {
    std::map<std::int64_t, TileConfig> tiles;
    for (const std::int64_t batch : batches) tiles[batch] = TileConfig{};
    const auto status = merge_into(path_, tiles, metadata);
    ASSERT_TRUE(status) << status.error().message;
  }
  [[nodiscard]] ConfigFile file() const {
    const auto read = read_config(path_);
    EXPECT_TRUE(read) << read.error().message;
    EXPECT_TRUE(read->warnings.empty()) << read->warnings[0];
    return read ? read->file : ConfigFile{};
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_.path() / "f.json";
};

TEST_F(BatchMetadata, IsTheFilesWhereOneRunMadeAll) {
  merge({1}, kFirst);
  merge({1, 2}, kFirst);  // as a run writes, one batch size after the other
  EXPECT_TRUE(file().batches.empty());
  EXPECT_EQ(said_of(file(), 1), kFirst);
  EXPECT_EQ(said_of(file(), 2), kFirst);
}

TEST_F(BatchMetadata, OfAnEarlierRunIsWrittenWhereItDiffersInNumericOrder) {
  merge({2, 16}, kFirst);
  merge({4}, kSecond);
  EXPECT_EQ(said_of(file(), 2), kFirst);
  EXPECT_EQ(said_of(file(), 16), kFirst);
  EXPECT_EQ(said_of(file(), 4), kSecond);
  const std::string text = get_text(path_);
  EXPECT_EQ(text.substr(text.find("    \"metadata\"")), R"(    "metadata": {
        "schema": 1,
        "date": "tuesday",
        "scales": "per_tensor",
        "threads": "4",
        "top_k": "2",
        "batches": {
            "2": {
                "date": "monday",
                "scales": "per_token_channel",
                "threads": ""
            },
            "16": {
                "date": "monday",
                "scales": "per_token_channel",
                "threads": ""
            }
        }
    }
}
)");
}

TEST_F(BatchMetadata, StaysThroughAnyNumberOfRunsAndIsDroppedWhereABatchSizeIsTunedAgain) {
  merge({1, 2}, kFirst);
  merge({3}, kSecond);
  merge({4}, {{"date", "wednesday"}, {"top_k", "8"}});
  EXPECT_EQ(said_of(file(), 1), kFirst);
  EXPECT_EQ(said_of(file(), 3), kSecond);
  merge({1}, kFirst);
  EXPECT_FALSE(file().batches.contains(1));
  EXPECT_EQ(said_of(file(), 1).at("date"), "monday");
  EXPECT_EQ(said_of(file(), 2), kFirst);
  merge({1, 2, 3, 4}, kSecond);
  EXPECT_TRUE(file().batches.empty());
  EXPECT_EQ(get_text(path_).find("batches"), std::string::npos);
}

TEST_F(BatchMetadata, OfAToolThatSaysNothingStaysNothing) {
  put_text(path_, R"({"1": {"BLOCK_SIZE_M": 1, "BLOCK_SIZE_N": 2, "BLOCK_SIZE_K": 3}})");
  merge({2}, kSecond);
  EXPECT_EQ(said_of(file(), 1), Metadata{});
  EXPECT_EQ(said_of(file(), 2), kSecond);
}

TEST_F(BatchMetadata, ThatIsNoTextOrOfNoTileIsKeptAndNamed) {
  const std::string text = R"({
    "1": {"BLOCK_SIZE_M": 1, "BLOCK_SIZE_N": 2, "BLOCK_SIZE_K": 3},
    "2": {"BLOCK_SIZE_M": 1, "BLOCK_SIZE_N": 2, "BLOCK_SIZE_K": 3},
    "metadata": {"batches": {"1": {"isa": "avx2", "top_k": 8}, "2": 5, "01": {}, "4": {"isa": "x"}}}})";
  put_text(path_, text);
  const auto read = read_config(path_);
  ASSERT_TRUE(read) << read.error().message;
  const std::string kept = path_.string() + ": unknown key \"metadata\".\"batches\".";
  EXPECT_EQ(read->warnings, (std::vector<std::string>{kept + "\"01\" is kept", kept + "\"1\".\"top_k\" is kept",
                                                      kept + "\"2\" is kept", kept + "\"4\" is kept"}));
  EXPECT_EQ(read->file.batches, (std::map<std::int64_t, Metadata>{{1, {{"isa", "avx2"}}}}));
  const auto again = parse_config(to_text(read->file), "f.json");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->file.unknown, read->file.unknown);
  merge({2, 4}, {{"isa", "avx512"}});
  const auto merged = read_config(path_)->file;
  EXPECT_EQ(merged.unknown, R"({"metadata":{"batches":{"01":{},"1":{"top_k":8}}}})") << "what was of 2 and 4 is gone";
  EXPECT_EQ(said_of(merged, 1).at("isa"), "avx2");
  EXPECT_EQ(said_of(merged, 4).at("isa"), "avx512");
}

TEST_F(BatchMetadata, ThatIsNoObjectIsKeptUntilItsPlaceIsNeeded) {
  put_text(path_,
           R"({"1": {"BLOCK_SIZE_M": 1, "BLOCK_SIZE_N": 2, "BLOCK_SIZE_K": 3}, "metadata": {"batches": "all"}})");
  const auto read = read_config(path_);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->warnings,
            std::vector<std::string>{path_.string() + ": unknown key \"metadata\".\"batches\" is kept"});
  EXPECT_EQ(parse_config(to_text(read->file), "f.json")->file.unknown, R"({"metadata":{"batches":"all"}})");
  merge({2}, kFirst);
  EXPECT_EQ(file().batches.size(), 1U);
}

TEST_F(BatchMetadata, IsBoundByTheFilesOwnLimits) {
  const auto refusal = [](const std::string& value) {
    const auto read = parse_config("{\"metadata\": {\"batches\": " + value + "}}", "f.json");
    return read ? "accepted" : read.error().message;
  };
  EXPECT_EQ(refusal(R"({"1": {}, "1": {}})"), "f.json: key \"1\" appears twice");
  EXPECT_EQ(refusal("{\"1\": " + std::string(13, '[') + std::string(13, ']') + "}"), "accepted");
  EXPECT_EQ(refusal("{\"1\": " + std::string(14, '[') + std::string(14, ']') + "}"),
            "f.json: nested deeper than 16 levels");
  std::string many = "{";
  for (int i = 1; i <= 100'000; ++i) many += (i == 1 ? "\"" : ", \"") + std::to_string(i) + "\": {\"isa\": \"x\"}";
  const auto read = parse_config("{\"metadata\": {\"batches\": " + many + "}}}", "f.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_TRUE(read->file.batches.empty()) << "none of these batch sizes has a tile";
  EXPECT_EQ(read->warnings.size(), 17U);
}

}  // namespace
}  // namespace expertile
