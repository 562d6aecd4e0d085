#include "store/config_file.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "plan/tile_schema.hpp"
#include "store/temporary_directory.hpp"

namespace expertile {
namespace {

constexpr const char* kTile = R"({"BLOCK_SIZE_M": 16, "BLOCK_SIZE_N": 32, "BLOCK_SIZE_K": 64})";

std::string refusal(const std::string& text) {
  const auto read = parse_config(text, "f.json");
  return read ? "accepted" : read.error().message;
}

std::string tile_refusal(const std::string& fields) { return refusal("{\"16\": {" + fields + "}}"); }

TEST(ConfigFile, IsNamedAfterHiddenSizeDTypeAndBlock) {
  Problem problem;
  EXPECT_EQ(config_file_name(problem), "grouped_gemm_config_4096_float16.json");
  problem.block_shape = BlockShape{128, 64};
  problem.hidden_size = 2048;
  EXPECT_EQ(config_file_name(problem), "grouped_gemm_config_2048_float16_block128x64.json");
  EXPECT_EQ(config_path("/c", "dev", problem),
            "/c/dev/E=8,N=4096,K=4096/grouped_gemm_config_2048_float16_block128x64.json");
}

TEST(ConfigFile, LiesInAFolderThatSaysScalesWhereTheyAreNotTheUsualOnes) {
  Problem problem{.n = 64, .k = 32, .dtype = DType::fp8_w8a8};
  const auto folder = [&] { return config_path("/c", "dev", problem).parent_path(); };
  EXPECT_EQ(folder(), "/c/dev/E=8,N=64,K=32");
  problem.scales = Scales::per_tensor;  // what fp8_w8a8 has without a word
  EXPECT_EQ(folder(), "/c/dev/E=8,N=64,K=32");
  problem.scales = Scales::per_token_channel;
  EXPECT_EQ(folder(), "/c/dev/E=8,N=64,K=32,scales=per_token_channel");
  EXPECT_EQ(config_file_name(problem), "grouped_gemm_config_32_fp8_w8a8.json") << "the name is SGLang's";
}

TEST(ConfigFile, DirectoryIsTheGivenOneThenTheVariableThenTheUsersData) {
  ::setenv("EXPERTILE_CONFIG_DIR", "/variable", 1);
  EXPECT_EQ(config_directory("/given"), "/given");
  EXPECT_EQ(config_directory(""), "/variable");
  ::unsetenv("EXPERTILE_CONFIG_DIR");
  ::setenv("XDG_DATA_HOME", "/data", 1);
  EXPECT_EQ(config_directory(""), "/data/expertile/configs");
  ::setenv("XDG_DATA_HOME", "relative", 1);
  const char* home = std::getenv("HOME");
  const std::string kept = home == nullptr ? "" : home;
  ::setenv("HOME", "/home/u", 1);
  EXPECT_EQ(config_directory(""), "/home/u/.local/share/expertile/configs");
  ::unsetenv("XDG_DATA_HOME");
  ::setenv("HOME", kept.c_str(), 1);
}

TEST(ConfigFile, IsWrittenInNumericOrderWithNamedFields) {
  ConfigFile file;
  file.tiles[16] = TileConfig{};
  file.tiles[2] = TileConfig{.block_size_m = 8};
  file.metadata = {{"device", "cpu \"x\""}};
  EXPECT_EQ(to_text(file), R"({
    "2": {
        "BLOCK_SIZE_M": 8,
        "BLOCK_SIZE_N": 64,
        "BLOCK_SIZE_K": 512,
        "GROUP_SIZE_M": 1,
        "num_warps": 1,
        "num_stages": 1,
        "kernel": "cpu"
    },
    "16": {
        "BLOCK_SIZE_M": 32,
        "BLOCK_SIZE_N": 64,
        "BLOCK_SIZE_K": 512,
        "GROUP_SIZE_M": 1,
        "num_warps": 1,
        "num_stages": 1,
        "kernel": "cpu"
    },
    "metadata": {
        "schema": 1,
        "device": "cpu \"x\""
    }
}
)");
}

TEST(ConfigFile, ReadsBackWhatItWrote) {
  ConfigFile file;
  file.tiles[1] = {1, 2, 3, 4, 5, 6};
  file.tiles[2048] = {65536, 2, 3, 4, 5, 6};
  file.metadata = {{"device", "a\nb\xc3\xa4"}, {"date", ""}};
  const auto read = parse_config(to_text(file), "f.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->file.tiles, file.tiles);
  EXPECT_EQ(read->file.metadata, file.metadata);
  EXPECT_EQ(read->file.unknown, "");
  EXPECT_TRUE(read->warnings.empty());
}

TEST(ConfigFile, ReadsBackAGpusTileWithItsOwnKeys) {
  ConfigFile file;
  file.tiles[64] = {16, 64, 128, 8, 4, 3, 2, 1, KernelFamily::sm80};
  const std::string text = to_text(file);
  EXPECT_NE(text.find("\"SPLIT_K\": 2"), std::string::npos) << text;
  EXPECT_NE(text.find("\"SWAP_AB\": 1"), std::string::npos) << text;
  const auto read = parse_config(text, "f.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->file.tiles, file.tiles);
}

TEST(ConfigFile, ReadsBackPartsOfKOnHopper) {
  ConfigFile file;
  file.tiles[1] = {8, 64, 128, 1, 4, 6, 4, 1, KernelFamily::sm90};
  const std::string text = to_text(file);
  EXPECT_NE(text.find("\"SPLIT_K\": 4"), std::string::npos) << text;
  EXPECT_NE(text.find("\"CLUSTER_SIZE\": 1"), std::string::npos) << text;
  const auto read = parse_config(text, "f.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->file.tiles, file.tiles);
}

TEST(ConfigFile, TakesDefaultsForKeysThatOtherToolsLeaveOut) {
  const auto read = parse_config(std::string("{\"64\": ") + kTile + "}", "f.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->file.tiles.at(64), (TileConfig{16, 32, 64, 1, 1, 1}));
  EXPECT_TRUE(read->warnings.empty());
}

TEST(ConfigFile, ReadsWhatWasWrittenBeforeFieldsBelongedToFamilies) {
  const auto read = parse_config(
      R"({"1": {"BLOCK_SIZE_M": 16, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 256, "GROUP_SIZE_M": 8, "num_warps": 4,
                "num_stages": 4, "SPLIT_K": 2, "SWAP_AB": 1, "PINGPONG": 0, "CLUSTER_SIZE": 1, "CLUSTER_M": 1,
                "kernel": "sm80"},
          "2": {"BLOCK_SIZE_M": 16, "BLOCK_SIZE_N": 64, "BLOCK_SIZE_K": 256, "GROUP_SIZE_M": 4, "num_warps": 4,
                "num_stages": 3, "SPLIT_K": 1}})",
      "f.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_TRUE(read->warnings.empty());
  EXPECT_EQ(read->file.tiles.at(1), (TileConfig{16, 64, 256, 8, 4, 4, 2, 1, KernelFamily::sm80}));
  EXPECT_EQ(wrong_field(read->file.tiles.at(1)), "");
  EXPECT_EQ(wrong_field(read->file.tiles.at(2)), "") << "another tool's, with numbers that no CPU reads";
}

TEST(ConfigFile, KeepsANumberOfAnotherFamilyForTheReasonWhyItsTileIsRefused) {
  ConfigFile file;
  file.tiles[1] = TileConfig{.kernel = KernelFamily::sm80, .cluster_m = 2};
  const auto read = parse_config(to_text(file), "f.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->file.tiles, file.tiles);
}

TEST(ConfigFile, KeepsUnknownKeysAndSaysSo) {
  const auto read = parse_config(
      R"({"triton_version": "3.2", "16": {"BLOCK_SIZE_M": 1, "BLOCK_SIZE_N": 2, "BLOCK_SIZE_K": 3, "waves_per_eu": [4]},
          "metadata": {"schema": 1, "count": 7}})",
      "f.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->warnings, (std::vector<std::string>{"f.json: unknown key \"metadata\".\"count\" is kept",
                                                      "f.json: unknown key \"16\".\"waves_per_eu\" is kept",
                                                      "f.json: unknown key \"triton_version\" is kept"}));
  const auto again = parse_config(to_text(read->file), "f.json");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->file.unknown, R"({"16":{"waves_per_eu":[4]},"metadata":{"count":7},"triton_version":"3.2"})");
}

TEST(ConfigFile, NamesOnlyTheFirstOfVeryManyUnknownKeys) {
  std::string text = "{";
  for (int i = 0; i < 20; ++i) text += (i == 0 ? "\"k" : ", \"k") + std::to_string(i) + "\": 0";
  const auto read = parse_config(text + "}", "f.json");
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->warnings.size(), 17U);
  EXPECT_EQ(read->warnings.back(), "f.json: 4 more unknown keys are kept");
}

TEST(ConfigFile, RefusesANewerSchemaNamingBoth) {
  const auto read = parse_config(R"({"1": {"NEW": 1}, "metadata": {"schema": 2}})", "f.json");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::unsupported);
  EXPECT_EQ(read.error().message, "f.json: schema 2 is newer than schema 1, the newest that this version reads");
}

TEST(ConfigFile, RefusesASchemaThatIsNoNumber) {
  for (const std::string value : {"\"1\"", "0", "-1", "1.5", "null"}) {
    EXPECT_EQ(refusal("{\"metadata\": {\"schema\": " + value + "}}"),
              "f.json: \"metadata\".schema is " + value + ", must be a whole number from 1");
  }
}

TEST(ConfigFile, RefusesImpossibleNumbers) {
  for (const std::string value : {"0", "-16", "16.5", "65537", "\"16\"", "null", "true", "99999999999999999999"}) {
    const std::string shown = value == "99999999999999999999" ? "1e+20" : value;
    EXPECT_EQ(tile_refusal("\"BLOCK_SIZE_M\": " + value),
              "f.json: \"16\".BLOCK_SIZE_M is " + shown + ", must be a whole number from 1 to 65536");
  }
  EXPECT_EQ(tile_refusal(R"("BLOCK_SIZE_M": 1, "BLOCK_SIZE_N": 1, "BLOCK_SIZE_K": 1, "num_warps": 0)"),
            "f.json: \"16\".num_warps is 0, must be a whole number from 1 to 65536");
}

TEST(ConfigFile, RefusesATileWithoutItsBlockSizes) {
  EXPECT_EQ(tile_refusal(R"("BLOCK_SIZE_M": 16, "BLOCK_SIZE_K": 16)"),
            "f.json: \"16\".BLOCK_SIZE_N is missing, must be a whole number from 1 to 65536");
}

TEST(ConfigFile, RefusesAnotherKernelFamily) {
  const std::string sizes = R"("BLOCK_SIZE_M": 1, "BLOCK_SIZE_N": 1, "BLOCK_SIZE_K": 1, )";
  EXPECT_EQ(tile_refusal(sizes + R"("kernel": "sm100")"),
            "f.json: \"16\".kernel is \"sm100\", this version knows \"cpu\", \"sm80\" and \"sm90\"");
  EXPECT_EQ(tile_refusal(sizes + R"("kernel": 3)"),
            "f.json: \"16\".kernel is 3, this version knows \"cpu\", \"sm80\" and \"sm90\"");
}

TEST(ConfigFile, RefusesMalformedBatchSizes) {
  for (const std::string key :
       {"01", "0", "-1", "+1", " 1", "1 ", "1.0", "1e3", "2147483648", "99999999999999999999", "x"}) {
    EXPECT_EQ(refusal("{\"" + key + "\": " + kTile + "}"),
              "f.json: batch size \"" + key + "\" must be a whole number from 1 to 2147483647 without leading zeros");
  }
}

TEST(ConfigFile, RefusesRepeatedKeys) {
  EXPECT_EQ(refusal(std::string("{\"16\": ") + kTile + ", \"16\": " + kTile + "}"), "f.json: key \"16\" appears twice");
  EXPECT_EQ(tile_refusal(R"("BLOCK_SIZE_M": 1, "BLOCK_SIZE_M": 2)"), "f.json: key \"BLOCK_SIZE_M\" appears twice");
}

TEST(ConfigFile, RefusesWrongTypes) {
  EXPECT_EQ(refusal("[1]"), "f.json: must hold one JSON object, not [1]");
  EXPECT_EQ(refusal(R"({"16": 3})"), "f.json: \"16\" must be an object of tile fields, not 3");
  EXPECT_EQ(refusal(R"({"metadata": "m"})"), "f.json: \"metadata\" must be an object, not \"m\"");
}

TEST(ConfigFile, RefusesTextThatIsNotJsonNamingTheLine) {
  EXPECT_EQ(refusal(""), "f.json: not valid JSON at line 1, column 1");
  EXPECT_EQ(refusal("{\n  oops\n}"), "f.json: not valid JSON at line 2, column 3");
  EXPECT_EQ(refusal("{} x"), "f.json: not valid JSON at line 1, column 4");
  EXPECT_EQ(refusal("{\"a\": \"\xff\"}"), "f.json: not valid JSON at line 1, column 8");
}

TEST(ConfigFile, RefusesDeepNestingAndHugeTexts) {
  const auto nested = [](std::size_t levels) {
    return "{\"a\": " + std::string(levels - 1, '[') + std::string(levels - 1, ']') + "}";
  };
  EXPECT_EQ(refusal(nested(16)), "accepted");
  EXPECT_EQ(refusal(nested(17)), "f.json: nested deeper than 16 levels");
  EXPECT_EQ(refusal("{\"a\": " + std::string(1 << 20, '[')), "f.json: nested deeper than 16 levels");
  EXPECT_EQ(refusal("{}" + std::string((4 << 20) - 2, ' ')), "accepted");
  EXPECT_EQ(refusal("{}" + std::string((4 << 20) - 1, ' ')),
            "f.json: larger than 4194304 bytes, the most that is read");
}

TEST(ConfigFile, ShowsALongValueShortened) {
  const std::string message = refusal("{\"16\": \"" + std::string(10000, 'a') + "\"}");
  EXPECT_EQ(message, "f.json: \"16\" must be an object of tile fields, not \"" + std::string(59, 'a') + "...");
}

TEST(ConfigFile, ThatIsNotThereIsNotFound) {
  const TemporaryDirectory directory;
  const auto read = read_config(directory.path() / "none.json");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::not_found);
  EXPECT_EQ(read.error().message, (directory.path() / "none.json").string() + ": no such file");
}

TEST(MergeInto, KeepsOtherBatchSizesMetadataAndUnknownKeys) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "deep/down/f.json";
  put_text(path,
           R"({"note": {"x": 1}, "1": {"BLOCK_SIZE_M": 1, "BLOCK_SIZE_N": 2, "BLOCK_SIZE_K": 3, "waves_per_eu": 4},
                     "2": {"BLOCK_SIZE_M": 1, "BLOCK_SIZE_N": 2, "BLOCK_SIZE_K": 3, "waves_per_eu": 5},
                     "metadata": {"schema": 1, "device": "old", "extra": "kept", "date": 20}})");
  const auto status = merge_into(path, {{2, TileConfig{}}, {4, TileConfig{}}}, {{"device", "new"}, {"date", "now"}});
  ASSERT_TRUE(status) << status.error().message;
  const auto read = read_config(path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->file.tiles.at(1), (TileConfig{1, 2, 3, 1, 1, 1}));
  EXPECT_EQ(read->file.tiles.at(2), TileConfig{});
  EXPECT_EQ(read->file.tiles.at(4), TileConfig{});
  EXPECT_EQ(read->file.metadata,
            (std::map<std::string, std::string>{{"date", "now"}, {"device", "new"}, {"extra", "kept"}}));
  // Batch size 2's waves_per_eu belonged to the tile that was replaced.
  EXPECT_EQ(read->file.unknown, R"({"1":{"waves_per_eu":4},"note":{"x":1}})");
}

TEST(MergeInto, LeavesADamagedFileAsItIs) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "f.json";
  put_text(path, "{\"1\": ");
  const auto status = merge_into(path, {{2, TileConfig{}}}, {});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, path.string() + ": not valid JSON at line 1, column 7; the file was left as it is");
  EXPECT_EQ(get_text(path), "{\"1\": ");
}

TEST(MergeInto, RefusesATileThatNoReaderWouldTake) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "f.json";
  const auto status = merge_into(path, {{2, TileConfig{.block_size_m = 0}}}, {});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            path.string() + ": \"2\".BLOCK_SIZE_M is 0, must be a whole number from 1 to 65536");
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace expertile
