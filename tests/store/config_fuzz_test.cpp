// Random mutations of valid texts: nothing crashes, and what is read can be written and read again unchanged.

#include <gtest/gtest.h>

#include <array>
#include <random>

#include "store/config_file.hpp"
#include "store/temporary_directory.hpp"
#include "support/fuzz.hpp"

namespace expertile {
namespace {

constexpr int kInputs = 120'000;

std::vector<std::string> seeds() {
  ConfigFile file;
  file.tiles[1] = TileConfig{};
  file.tiles[128] = TileConfig{.block_size_m = 64};
  file.metadata = {{"device", "cpu"}, {"routing", "zipf:1.1"}};
  ConfigFile mixed = file;  // of two runs
  mixed.batches[128] = {{"routing", "uniform"}, {"top_k", ""}};
  return {to_text(file), to_text(mixed),
          R"({"1": {"BLOCK_SIZE_M": 1, "BLOCK_SIZE_N": 2, "BLOCK_SIZE_K": 3},
              "metadata": {"batches": {"1": {"isa": "avx2", "x": [1]}, "2": {"isa": 5}, "y": {}}, "isa": "avx512"}})",
          R"({"16": {"BLOCK_SIZE_M": 1, "BLOCK_SIZE_N": 2, "BLOCK_SIZE_K": 3, "SPLIT_K": [1, {"a": -0.5}]}})",
          R"({"triton_version": "3.2\u00e4\n", "x": [[[1e300, null, true]]], "metadata": {"schema": 1, "n": 5}})"};
}

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  std::string operator()(std::string text) {
    static constexpr std::array<const char*, 21> kPieces = {"{",
                                                            "}",
                                                            "[",
                                                            "]",
                                                            ",",
                                                            ":",
                                                            "\"",
                                                            "\"1\":",
                                                            "0",
                                                            "-",
                                                            "1e9",
                                                            "null",
                                                            "\"metadata\":",
                                                            "\"kernel\":",
                                                            "\"batches\":",
                                                            "\"2\": {\"isa\": \"\"},",
                                                            "\"top_k\": \"8\",",
                                                            "\\u0000",
                                                            "\xff",
                                                            "65537",
                                                            "\"schema\": 2"};
    for (std::size_t edits = 1 + below(4); edits > 0; --edits) {
      const std::size_t at = below(text.size() + 1);
      switch (below(5)) {
        case 0:
          if (at < text.size()) text[at] = static_cast<char>(below(256));
          break;
        case 1:
          text.insert(at, kPieces[below(kPieces.size())]);
          break;
        case 2:
          text.erase(at, below(8));
          break;
        case 3:  // a digit for a digit keeps most texts valid
          if (at < text.size() && text[at] >= '0' && text[at] <= '9') text[at] = static_cast<char>('0' + below(10));
          break;
        default:
          text.insert(at, text.substr(below(text.size() + 1), below(40)));
      }
    }
    return text;
  }

  std::size_t below(std::size_t end) { return static_cast<std::size_t>(random_() % end); }

 private:
  std::mt19937_64 random_;
};

TEST(ConfigFuzz, MutatedTextsAreRefusedInOneLineOrSurviveARoundTrip) {
  const auto texts = seeds();
  Mutator mutate(20260101);
  int accepted = 0;
  for (int i = testing::fuzz_inputs(kInputs); i > 0; --i) {
    const std::string text = mutate(texts[mutate.below(texts.size())]);
    const auto first = parse_config(text, "f.json");
    if (!first) {
      ASSERT_EQ(first.error().message.rfind("f.json: ", 0), 0U) << text;
      ASSERT_EQ(first.error().message.find('\n'), std::string::npos) << text;
      continue;
    }
    ++accepted;
    const auto second = parse_config(to_text(first->file), "f.json");
    ASSERT_TRUE(second) << second.error().message << '\n' << text;
    ASSERT_EQ(second->file.tiles, first->file.tiles) << text;
    ASSERT_EQ(second->file.metadata, first->file.metadata) << text;
    ASSERT_EQ(second->file.batches, first->file.batches) << text;
    ASSERT_EQ(second->file.unknown, first->file.unknown) << text;
  }
  EXPECT_GT(accepted, kInputs / 50) << "too few inputs reach the round trip";
}

TEST(ConfigFuzz, NoMergeChangesWhatOtherBatchSizesSayOfThemselves) {
  constexpr int kMerges = 400;  // each writes a file
  const TemporaryDirectory directory;
  const auto path = directory.path() / "f.json";
  const auto texts = seeds();
  Mutator mutate(20260202);
  int merged = 0;
  for (int i = 0; i < kMerges; ++i) {
    const std::string text = mutate(texts[mutate.below(texts.size())]);
    const auto before = parse_config(text, "f.json");
    if (!before) continue;
    put_text(path, text);
    const Metadata run = {{"isa", "avx2"}, {"routing", mutate.below(2) == 0 ? "uniform" : "x"}, {"date", "now"}};
    ASSERT_TRUE(merge_into(path, {{1, TileConfig{}}, {3, TileConfig{}}}, run)) << text;
    const auto after = read_config(path);
    ASSERT_TRUE(after) << after.error().message << '\n' << text;
    for (const auto& [batch, tile] : before->file.tiles) {
      if (batch == 1 || batch == 3) continue;
      ++merged;
      ASSERT_EQ(after->file.tiles.at(batch), tile) << text;
      ASSERT_EQ(said_of(after->file, batch), said_of(before->file, batch)) << batch << '\n' << text;
    }
    for (const auto& [key, value] : run) ASSERT_EQ(said_of(after->file, 3).at(key), value) << text;
    ASSERT_FALSE(after->file.batches.contains(1)) << text;
  }
  EXPECT_GT(merged, kMerges / 20) << "too few inputs reach a merge";
}

}  // namespace
}  // namespace expertile
