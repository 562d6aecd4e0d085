// Which layers have experts, what their modules are called, and the matchers that lists of names are read with.

#include "problem/quantisation/module_names.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "problem/quantisation/name_list.hpp"
#include "problem/quantisation/patterns.hpp"

namespace expertile::quantisation {
namespace {

using Json = nlohmann::json;
using testing::Contains;
using testing::ElementsAre;

std::vector<std::int64_t> layers_of(const Json& root, const Json& section = Json::object()) {
  const auto modules = expert_modules(root, section, "model");
  EXPECT_TRUE(modules) << modules.error().message;
  std::vector<std::int64_t> numbers;
  if (!modules) return numbers;
  for (const ExpertLayer& layer : modules->layers) numbers.push_back(layer.number);
  return numbers;
}

ExpertLayer first_layer(const std::string& model_type) {
  const auto modules = expert_modules({{"model_type", model_type}, {"num_hidden_layers", 1}}, Json::object(), "model");
  return modules.value().layers.at(0);
}

bool regex_matches(const std::string& pattern, const std::string& name, bool to_boundary = false) {
  Budget budget;
  const auto regex = Regex::compile(pattern, "list", Anchor::start);
  EXPECT_TRUE(regex) << regex.error().message;
  return regex && regex->matches(name, budget, to_boundary).value();
}

bool glob_matches(const std::string& pattern, const std::string& name) {
  Budget budget;
  return Glob::compile(pattern, "list").value().matches(name, budget).value();
}

std::string list_covers(const std::vector<std::string>& entries, NameRules rules) {
  Budget budget;
  const auto list = NameList::read(entries, rules, "list");
  EXPECT_TRUE(list) << list.error().message;
  const Coverage covered = list->coverage(first_layer("qwen3_moe"), budget).value();
  std::string text;
  for (const bool one : covered.projections) text += one ? '1' : '0';
  return text;
}

TEST(ModuleNames, LayersWithoutExpertsAreLeftOut) {
  EXPECT_THAT(layers_of({{"num_hidden_layers", 3}}), ElementsAre(0, 1, 2));
  EXPECT_THAT(layers_of({{"num_hidden_layers", 4}, {"first_k_dense_replace", 2}}), ElementsAre(2, 3));
  EXPECT_THAT(layers_of({{"num_hidden_layers", 4}, {"moe_layer_freq", {0, 1, 0, 1}}}), ElementsAre(1, 3));
  EXPECT_THAT(layers_of({{"num_hidden_layers", 4}, {"moe_layer_freq", 2}}), ElementsAre(0, 2));
  EXPECT_THAT(layers_of({{"num_hidden_layers", 4}, {"decoder_sparse_step", 2}}), ElementsAre(1, 3));
  EXPECT_THAT(layers_of({{"num_hidden_layers", 4}, {"interleave_moe_layer_step", 2}}), ElementsAre(1, 3));
  EXPECT_THAT(layers_of({{"num_hidden_layers", 4}, {"mlp_only_layers", {1, 2}}}), ElementsAre(0, 3));
  EXPECT_THAT(layers_of({{"num_hidden_layers", 4}, {"moe_layers_enum", "1,2"}}), ElementsAre(1, 2));
  EXPECT_THAT(layers_of({{"num_hidden_layers", 4}, {"moe_layers", {0, 3}}}), ElementsAre(0, 3));
  EXPECT_THAT(layers_of({{"num_hidden_layers", 5}, {"hybrid_override_pattern", "ME*-E"}}), ElementsAre(1, 4));
  EXPECT_THAT(layers_of({{"num_hidden_layers", 3}, {"mlp_layer_types", {"dense", "sparse", "sparse"}}}),
              ElementsAre(1, 2));
  EXPECT_THAT(layers_of({{"num_hidden_layers", 4}, {"expert_layer_period", 2}, {"expert_layer_offset", 1}}),
              ElementsAre(1, 3));
  EXPECT_THAT(layers_of({{"num_hidden_layers", 9}, {"text_config", {{"num_hidden_layers", 2}}}}), ElementsAre(0, 1));
}

TEST(ModuleNames, FieldsThatLeaveNoLayerAreNotBelieved) {
  EXPECT_THAT(layers_of({{"num_hidden_layers", 2}, {"first_k_dense_replace", 7}}), ElementsAre(0, 1));
}

TEST(ModuleNames, WithoutACountTheNamesOfTheSectionTellHowManyLayersThereAre) {
  EXPECT_EQ(layers_of(Json::object()).size(), 32U);
  EXPECT_EQ(layers_of(Json::object(), {{"ignore", {"model.layers.0.mlp"}}}).size(), 32U);
  EXPECT_EQ(layers_of(Json::object(), {{"ignore", {"model.layers.45.mlp", "layers.x"}}}).size(), 46U);
  EXPECT_FALSE(expert_modules(Json::object(), Json::object(), "model")->counted);
}

TEST(ModuleNames, ACountOfLayersOutOfRangeIsRefused) {
  for (const Json& count : {Json(0), Json(1001), Json("x"), Json(18446744073709551615U), Json(1.5)}) {
    const auto modules = expert_modules({{"num_hidden_layers", count}}, Json::object(), "model");
    ASSERT_FALSE(modules);
    EXPECT_EQ(modules.error().message,
              "model: num_hidden_layers is " + count.dump() + ", it must be a whole number from 1 to 1000");
  }
}

TEST(ModuleNames, EveryFamilyHasItsOwnNames) {
  EXPECT_THAT(first_layer("qwen3_moe").projections[0], Contains("model.layers.0.mlp.experts.0.gate_proj"));
  EXPECT_THAT(first_layer("mixtral").projections[2], Contains("model.layers.0.block_sparse_moe.experts.0.w2"));
  EXPECT_THAT(first_layer("nemotron_h").projections[0], Contains("backbone.layers.0.mixer.experts.0.up_proj"));
  EXPECT_THAT(first_layer("gemma4").modules, Contains("model.language_model.layers.0.experts"));
  EXPECT_THAT(first_layer("deepseek_v4").projections[1], Contains("layers.0.ffn.experts.0.w3"));
  EXPECT_THAT(first_layer("step3p5").whole[0], Contains("model.layers.0.moe.gate_proj"));
  EXPECT_THAT(first_layer("never seen").whole[1], Contains("model.layers.0.mlp.experts.gate_up_proj"));
  const auto nested = expert_modules({{"model_type", "kimi_k25"}, {"text_config", {{"model_type", "mixtral"}}}},
                                     Json::object(), "model");
  EXPECT_EQ(nested->projection_words[0], "w1");
}

TEST(Patterns, RegularExpressionsMatchFromTheStartAndHaveNoEnd) {
  EXPECT_TRUE(regex_matches(".*mlp.gate", "model.layers.0.mlp.gate_proj"));
  EXPECT_FALSE(regex_matches(".*mlp.gate$", "model.layers.0.mlp.gate_proj"));
  EXPECT_FALSE(regex_matches("mlp", "model.layers.0.mlp"));
  EXPECT_TRUE(regex_matches("(?P<head>model).*(?=mlp)", "model.layers.0.mlp"));
  EXPECT_TRUE(regex_matches("model.layers.*.mlp.experts", "model.layers.7.mlp.experts", true));
  EXPECT_TRUE(regex_matches("model.layers.1", "model.layers.10.mlp"));
  EXPECT_FALSE(regex_matches("model.layers.1", "model.layers.10.mlp", true));
}

TEST(Patterns, GlobsMatchWholeNamesAndCrossDots) {
  EXPECT_TRUE(glob_matches("model.layers.1*", "model.layers.10.mlp"));
  EXPECT_FALSE(glob_matches("model.layers.1.*", "model.layers.10.mlp"));
  EXPECT_FALSE(glob_matches("*.mlp", "model.layers.10.mlp.experts"));
  EXPECT_TRUE(glob_matches("*.mlp.*", "model.layers.10.mlp.experts"));
  EXPECT_TRUE(glob_matches("layers.[0-3].m?p", "layers.2.mlp"));
  EXPECT_FALSE(glob_matches("layers.[!0-3].mlp", "layers.2.mlp"));
  EXPECT_TRUE(glob_matches("layers.[x", "layers.[x"));
  EXPECT_TRUE(glob_matches("[]]", "]"));
  EXPECT_TRUE(glob_matches("***", ""));
  EXPECT_FALSE(glob_matches("", "x"));
}

TEST(Patterns, WhatDoesNotCompileIsNamed) {
  const auto broken = Regex::compile("a(b", "model: list", Anchor::start);
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().message, "model: list: pattern 'a(b' is no regular expression: missing closing parenthesis");
  const auto lengthy = Glob::compile(std::string(1001, '*'), "model: list");
  ASSERT_FALSE(lengthy);
  EXPECT_EQ(lengthy.error().message,
            "model: list: pattern '" + std::string(60, '*') + "...' is longer than 1000 bytes, the most that is read");
}

TEST(Patterns, BacktrackingWithoutEndIsStoppedAndNamed) {
  Budget budget;
  const auto regex = Regex::compile("(a+)+$", "model: list", Anchor::start);
  std::string almost(60, 'a');
  almost.push_back('!');
  const auto found = regex->matches(almost, budget);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().message, "model: list: pattern '(a+)+$' takes too long to match");
}

TEST(Patterns, ASpentBudgetIsAnError) {
  Budget little(10);
  const auto glob = Glob::compile("*a*b*c*d", "list");
  EXPECT_FALSE(glob->matches(std::string(100, 'a'), little));
  const auto regex = Regex::compile("a", "list", Anchor::start);
  EXPECT_FALSE(regex->matches("a", little));
}

TEST(NameLists, ExactNamesStandForThemselvesAlone) {
  EXPECT_EQ(list_covers({"model.layers.0.mlp.experts.0.gate_proj"}, {}), "100");
  EXPECT_EQ(list_covers({"model.layers.0.mlp.experts"}, {}), "111");
  EXPECT_EQ(list_covers({"model.layers.0.mlp.experts.0", "mlp.experts", "model.layers.0.mlp.gate", "*"}, {}), "000");
  EXPECT_EQ(list_covers({"language_model.model.layers.0.mlp.experts.0.up_proj"}, {}), "010");
  EXPECT_EQ(list_covers({"mtp.layers.0.mlp.experts", "model.visual.layers.0.mlp.experts"}, {}), "000");
  EXPECT_EQ(list_covers({"model.layers.0.mlp.experts.gate_up_proj"}, {}), "110");
}

TEST(NameLists, ASuffixIsOfWholeComponents) {
  EXPECT_EQ(list_covers({"mlp.experts"}, {.suffix = true}), "111");
  EXPECT_EQ(list_covers({"up_proj"}, {.suffix = true}), "010");
  EXPECT_EQ(list_covers({"xperts", "mlp", "proj"}, {.suffix = true}), "000");
}

TEST(NameLists, ComponentsThatFollowEachOtherAreFound) {
  const NameRules rules{.components = true};
  EXPECT_EQ(list_covers({"model.layers.0.mlp"}, rules), "111");
  EXPECT_EQ(list_covers({"layers.0"}, rules), "111");
  EXPECT_EQ(list_covers({"mlp.gate", "lm_head", "gate", "layers.00", "layer"}, rules), "000");
}

TEST(NameLists, AChildStandsForTheModuleWhereTheListSaysSo) {
  EXPECT_EQ(list_covers({"model.layers.0.mlp.experts.7.up_proj"}, {.children = true}), "111");
  EXPECT_EQ(list_covers({"model.layers.0.mlp.experts_norm.x"}, {.children = true}), "000");
}

TEST(NameLists, PatternsAreTriedByTheRules) {
  EXPECT_EQ(list_covers({"re:.*gate"}, {}), "100");
  EXPECT_EQ(list_covers({"re:.*shared_experts.*"}, {}), "000");
  EXPECT_EQ(list_covers({"*.experts.*"}, {.entries = Entries::globs}), "111");
  EXPECT_EQ(list_covers({"*.mlp.shared_expert.*"}, {.entries = Entries::globs}), "000");
  EXPECT_EQ(list_covers({"model.layers.*.mlp.experts"}, {.entries = Entries::regexes}), "111");
  EXPECT_EQ(list_covers({"*experts"}, {.entries = Entries::regexes}), "111");
}

}  // namespace
}  // namespace expertile::quantisation
