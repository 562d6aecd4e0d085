// What the command line makes of published configurations: sizes, dtype, scales, or a refusal. Each folder is a model,
// EXPECTED.json beside them says what must come out, for which options, and where the numbers are from.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "files/files.hpp"
#include "run/option_table.hpp"

namespace expertile::run {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

const std::string kData = std::string(EXPERTILE_SOURCE_DIR) + "/tests/data/";

struct Case {
  std::string folder;  // below tests/data
  Json expected;

  [[nodiscard]] std::string text() const { return folder + " " + expected["args"].dump(); }
};

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const std::string collection : {"models", "published_models"}) {
    const auto text = read_text(kData + collection + "/EXPECTED.json", 1 << 20);
    if (!text) continue;
    const Json expected = Json::parse(*text);
    for (const auto& [model, of_model] : expected.items()) {
      for (const Json& one : of_model) cases.push_back({collection + "/" + model, one});
    }
  }
  return cases;
}

TextOptions options_of(const Case& one) {
  TextOptions text;
  text.model = kData + one.folder;
  const Json& arguments = one.expected["args"];
  for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
    const auto set =
        set_option(text, Command::show, arguments[i].get<std::string>().substr(2), arguments[i + 1].get<std::string>());
    EXPECT_TRUE(set) << set.error().message;
  }
  return text;
}

std::vector<std::int64_t> sizes_of(const Problem& problem) { return {problem.n, problem.k}; }

void expect_layer(const Json& expected, const Settings& settings) {
  ASSERT_EQ(settings.problems.size(), 2U);
  const Problem& first = settings.problems[0].problem;
  const Problem& down = settings.problems[1].problem;
  EXPECT_EQ(name(first.dtype), expected["dtype"]);
  if (expected.contains("hidden_size")) {
    EXPECT_EQ(hidden_size_of(first), expected["hidden_size"]);
  }
  if (expected.value("dense", false)) {
    EXPECT_THAT(settings.notices, ::testing::Contains(HasSubstr("is a dense model")));
    return;
  }
  EXPECT_EQ(first.experts, expected["experts"]);
  EXPECT_EQ(first.top_k, expected["top_k"]);
  EXPECT_EQ(Json(sizes_of(first)), expected["gate_up"]);
  EXPECT_EQ(Json(sizes_of(down)), expected["down"]);
  const Json block = first.block_shape ? Json{first.block_shape->n, first.block_shape->k} : Json();
  EXPECT_EQ(block, expected["block_shape"]);
  if (expected.contains("scales")) {
    EXPECT_EQ(name(scales_of(first)), expected["scales"]);
  }
  if (expected.contains("gated")) {
    EXPECT_EQ(settings.problems[0].activation.is_gated, expected["gated"]);
  }
  const char* name_of_first = settings.problems[0].activation.is_gated ? "gate_up" : "up";
  EXPECT_EQ(settings.problems[0].projection, name_of_first);
  EXPECT_EQ(settings.problems[1].projection, "down");
}

class PublishedModel : public ::testing::TestWithParam<Case> {};

TEST_P(PublishedModel, IsReadRightOrRefusedForTheRightReason) {
  const Json& expected = GetParam().expected;
  const auto settings = resolve(options_of(GetParam()));
  if (!expected.contains("refused")) {
    ASSERT_TRUE(settings) << settings.error().message;
    expect_layer(expected, *settings);
    return;
  }
  ASSERT_FALSE(settings) << "was not refused";
  EXPECT_EQ(exit_status(settings.error()), 2);
  for (const Json& word : expected["refused"]) {
    EXPECT_THAT(settings.error().message, HasSubstr(word.get<std::string>()));
  }
  EXPECT_THAT(settings.error().message, ::testing::Not(HasSubstr("\n")));
}

INSTANTIATE_TEST_SUITE_P(Every, PublishedModel, ::testing::ValuesIn(all_cases()), [](const auto& of) {
  std::string name = of.param.text();
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name + std::to_string(of.index);
});

TEST(PublishedModels, AreManyAndEachSaysWhereItsNumbersAreFrom) {
  const std::vector<Case> cases = all_cases();
  EXPECT_GE(cases.size(), 26U + 40U);
  for (const Case& one : cases) {
    if (!one.folder.starts_with("models/")) {
      EXPECT_TRUE(one.expected.contains("source")) << one.folder;
    }
    EXPECT_TRUE(std::filesystem::exists(kData + one.folder + "/config.json")) << one.folder;
  }
}

}  // namespace
}  // namespace expertile::run
