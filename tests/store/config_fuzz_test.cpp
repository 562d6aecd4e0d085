// Random mutations of valid texts: nothing crashes, and what is read can be written and read again unchanged.

#include <gtest/gtest.h>

#include <array>
#include <random>

#include "store/config_file.hpp"

namespace expertile {
namespace {

constexpr int kInputs = 120'000;

std::vector<std::string> seeds() {
  ConfigFile file;
  file.tiles[1] = TileConfig{};
  file.tiles[128] = TileConfig{.block_size_m = 64};
  file.metadata = {{"device", "cpu"}, {"routing", "zipf:1.1"}};
  return {to_text(file),
          R"({"16": {"BLOCK_SIZE_M": 1, "BLOCK_SIZE_N": 2, "BLOCK_SIZE_K": 3, "SPLIT_K": [1, {"a": -0.5}]}})",
          R"({"triton_version": "3.2\u00e4\n", "x": [[[1e300, null, true]]], "metadata": {"schema": 1, "n": 5}})"};
}

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  std::string operator()(std::string text) {
    static constexpr std::array<const char*, 18> kPieces = {"{",
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
  for (int i = 0; i < kInputs; ++i) {
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
    ASSERT_EQ(second->file.unknown, first->file.unknown) << text;
  }
  EXPECT_GT(accepted, kInputs / 50) << "too few inputs reach the round trip";
}

}  // namespace
}  // namespace expertile
