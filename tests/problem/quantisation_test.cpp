// The quantisation of the routed experts: every folder of data/quantised_models, and each kind of message word for
// word.

#include "problem/quantisation/quantisation.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>

#include "problem/quantisation/scheme_table.hpp"

namespace expertile {
namespace {

using Json = nlohmann::json;

const std::string kModels = std::string(EXPERTILE_SOURCE_DIR) + "/tests/data/quantised_models/";
const std::string kHelp = "; give --dtype (and --block-shape) to tune the sizes with another scheme";

Json load(const std::string& path) {
  std::ifstream stream(path);
  EXPECT_TRUE(stream) << path;
  return Json::parse(stream, nullptr, false);
}

Result<Quantisation> read(const Json& root, const Json* beside = nullptr) {
  return read_quantisation(root, beside, "model");
}

Quantisation good(const Json& root, const Json* beside = nullptr) {
  const auto read_one = read(root, beside);
  EXPECT_TRUE(read_one) << read_one.error().message;
  return read_one ? *read_one : Quantisation{};
}

void expect_error(const Json& root, const std::string& message, ErrorCode code = ErrorCode::unsupported) {
  const auto read_one = read(root);
  ASSERT_FALSE(read_one) << read_one->words;
  EXPECT_EQ(read_one.error().message, message);
  EXPECT_EQ(read_one.error().code, code);
}

void expect_broken(const Json& root, const std::string& message) {
  expect_error(root, message, ErrorCode::invalid_argument);
}

// A model of four layers whose experts are at mlp.experts.
Json model(const Json& section) {
  return {{"model_type", "qwen3_moe"}, {"num_hidden_layers", 4}, {"quantization_config", section}};
}

Json tensor(const std::string& type, int bits, const std::string& strategy, const Json& dynamic) {
  return {{"type", type}, {"num_bits", bits}, {"strategy", strategy}, {"dynamic", dynamic}};
}

Json group(const Json& weights, const Json& inputs, const Json& targets = {"Linear"}) {
  return {{"weights", weights}, {"input_activations", inputs}, {"targets", targets}};
}

Json compressed(const Json& groups, const Json& ignore = Json::array()) {
  return model({{"quant_method", "compressed-tensors"}, {"config_groups", groups}, {"ignore", ignore}});
}

Json float_channel(const Json& targets = {"Linear"}) {
  return group(tensor("float", 8, "channel", false), tensor("float", 8, "token", true), targets);
}

Json int4_group(const Json& targets = {"Linear"}) { return group(tensor("int", 4, "group", false), nullptr, targets); }

void check_scheme(const Quantisation& found, const Json& wanted) {
  if (wanted["dtype"] == "bfloat16") {
    EXPECT_FALSE(found.scheme);
    return;
  }
  ASSERT_TRUE(found.scheme);
  EXPECT_EQ(name(found.scheme->dtype), wanted["dtype"].get<std::string>());
  EXPECT_EQ(name(found.scheme->scales), wanted["scales"].get<std::string>());
  ASSERT_EQ(found.scheme->block_shape.has_value(), !wanted["block_shape"].is_null());
  if (!found.scheme->block_shape) return;
  EXPECT_EQ(found.scheme->block_shape->n, wanted["block_shape"][0]);
  EXPECT_EQ(found.scheme->block_shape->k, wanted["block_shape"][1]);
}

TEST(Quantisation, EveryPublishedFormIsReadOrRefusedByItsName) {
  const Json expected = load(kModels + "EXPECTED.json");
  ASSERT_GE(expected.size(), 100U);
  for (const auto& [folder, cases] : expected.items()) {
    SCOPED_TRACE(folder);
    const Json& wanted = cases[0];  // the one without --dtype
    const Json root = load(kModels + folder + "/config.json");
    const std::string hf = kModels + folder + "/hf_quant_config.json";
    const bool has_beside = std::filesystem::exists(hf);
    const Json beside = has_beside ? load(hf) : Json();
    const auto found = read(root, has_beside ? &beside : nullptr);
    if (!wanted.contains("refused")) {
      EXPECT_TRUE(found) << found.error().message;
      if (found) check_scheme(*found, wanted);
      continue;
    }
    ASSERT_FALSE(found) << found->words;
    EXPECT_EQ(found.error().code, ErrorCode::unsupported);
    EXPECT_TRUE(found.error().message.starts_with("model: quantisation scheme '")) << found.error().message;
    EXPECT_TRUE(found.error().message.ends_with(kHelp)) << found.error().message;
    for (const Json& word : wanted["refused"]) {
      EXPECT_NE(found.error().message.find(word.get<std::string>()), std::string::npos)
          << word << " in " << found.error().message;
    }
  }
}

TEST(Quantisation, AFileWithoutASectionHasNone) {
  for (const Json& root : {Json::object(), Json{{"quantization_config", nullptr}}, Json(5), Json()}) {
    const Quantisation found = good(root);
    EXPECT_FALSE(found.scheme);
    EXPECT_EQ(found.words, "");
    EXPECT_TRUE(found.notices.empty());
  }
}

TEST(Quantisation, TheSchemeIsCalledAsUsersKnowIt) {
  EXPECT_EQ(good(compressed({{"group_0", float_channel()}})).words, "compressed-tensors float 8 bit channel");
  EXPECT_EQ(good(model({{"quant_algo", "fp8"}})).words, "modelopt FP8");
  EXPECT_EQ(good(model({{"quant_method", "FP8"}, {"weight_block_size", {64, 128}}})).words,
            "fp8 with weight_block_size [64, 128]");
  EXPECT_EQ(good(model({{"quant_method", "gptq"}, {"bits", 8}, {"group_size", 64}})).words, "gptq 8 bit group 64");
}

TEST(Quantisation, StaticInputsAreToldFromDynamicOnes) {
  const Quantisation fixed = good(model({{"quant_method", "fp8"}, {"activation_scheme", "static"}}));
  EXPECT_TRUE(fixed.static_inputs);
  EXPECT_TRUE(fixed.notices.empty());
  const Quantisation dynamic = good(model({{"quant_method", "fp8"}, {"activation_scheme", "dynamic"}}));
  EXPECT_FALSE(dynamic.static_inputs);
  ASSERT_EQ(dynamic.notices.size(), 1U);
  EXPECT_EQ(dynamic.notices[0],
            "model: activation_scheme is dynamic without weight_block_size: one scale for all activations is taken; "
            "give --scales per_token_channel for an engine that makes one a token");
  const Json weights = tensor("float", 8, "tensor", false);
  EXPECT_TRUE(good(compressed({{"a", group(weights, tensor("float", 8, "tensor", false))}})).static_inputs);
  EXPECT_FALSE(good(compressed({{"a", group(weights, tensor("float", 8, "tensor", true))}})).static_inputs);
}

TEST(Quantisation, WeightsAndInputsOfTwoStrategiesAreRefusedByBoth) {
  const std::string note = " (the scales of weights and of inputs do not go together) is not supported" + kHelp;
  expect_error(
      compressed({{"a", group(tensor("float", 8, "channel", false), tensor("float", 8, "tensor", false))}}),
      "model: quantisation scheme 'compressed-tensors float 8 bit channel with float 8 bit static tensor input "
      "activations'" +
          note);
  expect_error(compressed({{"a", group(tensor("float", 8, "tensor", false), tensor("float", 8, "token", true))}}),
               "model: quantisation scheme 'compressed-tensors float 8 bit tensor with float 8 bit dynamic token input "
               "activations'" +
                   note);
  expect_error(
      model({{"quant_method", "fp8"}, {"weight_block_size", {128, 128}}, {"activation_scheme", "static"}}),
      "model: quantisation scheme 'fp8 with weight_block_size [128, 128] and activation_scheme static'" + note);
}

TEST(Quantisation, WhatTheKernelsLackIsRefusedByItsName) {
  const auto refusal = [](const std::string& scheme) {
    return "model: quantisation scheme " + scheme + " is not supported" + kHelp;
  };
  expect_error(compressed({{"a", group(tensor("float", 8, "channel", false), nullptr)}}),
               refusal("'compressed-tensors float 8 bit channel without input activations'"));
  expect_error(compressed({{"a", int4_group()}}), refusal("'compressed-tensors int 4 bit group'"));
  expect_error(model({{"quant_algo", "NVFP4"}}), refusal("'modelopt NVFP4' (4 bit)"));
  expect_error(model({{"quant_method", "mxfp4"}}), refusal("'mxfp4' (MXFP4, 4 bit)"));
  expect_error(model({{"quant_method", "fp8"}, {"fmt", "e5m2"}}), refusal("'fp8 fmt e5m2'"));
  expect_error(model({{"quant_method", "fp8"}, {"weight_block_size", {1, 32}}}),
               refusal("'fp8 with weight_block_size [1, 32]' (MXFP8)"));
  expect_error(model({{"quant_method", "gptq"}, {"bits", 8}, {"group_size", 64}, {"sym", false}}),
               refusal("'gptq 8 bit asymmetric' (weights have zero points)"));
  expect_error(model({{"quant_method", "gptq"}, {"bits", 8}, {"group_size", 64}, {"desc_act", true}}),
               refusal("'gptq 8 bit desc_act' (groups are not of neighbours)"));
  expect_error(model({{"bits", 4}}), refusal("'4 bit without a quant_method'"));
  expect_error(model(Json::object()), refusal("'without a quant_method'"));
  expect_error(model({{"quant_method", ""}}), refusal("'without a quant_method'"));
  expect_error(model({{"quant_method", "auto-round"}, {"bits", 4}, {"data_type", "mx_fp"}}),
               refusal("'auto-round mx_fp 4 bit'"));
  expect_error(model({{"load_in_4bit", true}}), refusal("'bitsandbytes load_in_4bit' (4 bit)"));
}

TEST(Quantisation, NamesFromOutsideAreEscapedAndCut) {
  expect_error(model({{"quant_method", "new\n\x1b[31m\"line\""}}),
               "model: quantisation scheme 'new\\n\\u001b[31m\\\"line\\\"' is not supported" + kHelp);
  const auto found = read(model({{"quant_method", std::string(5000, 'x')}}));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().message,
            "model: quantisation scheme '" + std::string(160, 'x') + "...' is not supported" + kHelp);
}

TEST(Quantisation, FieldsThatOverruleTheMethodAreHeard) {
  const Json fp8 = {{"quant_method", "fp8"}, {"weight_block_size", {128, 128}}};
  Json root = model(fp8);
  root["expert_dtype"] = "fp4";
  expect_error(root, "model: quantisation scheme 'expert_dtype fp4' (MXFP4, 4 bit) is not supported" + kHelp);
  root["expert_dtype"] = "fp8";
  EXPECT_EQ(good(root).scheme->block_shape, (BlockShape{128, 128}));
  root["expert_dtype"] = "bf16";
  EXPECT_FALSE(good(root).scheme);
  EXPECT_EQ(good(root).notices.at(0), "model: expert_dtype bf16 leaves the experts in the model's own dtype");
  root["expert_dtype"] = 4;
  expect_broken(root, "model: expert_dtype is 4, it must be a text");
  Json section = fp8;
  section["moe_quant_algo"] = "nvfp4";
  expect_error(model(section),
               "model: quantisation scheme 'modelopt moe_quant_algo NVFP4' (4 bit) is not supported" + kHelp);
}

TEST(Quantisation, ADeepSeekV4ThatNamesNoExpertDtypeIsAskedAbout) {
  Json root = model({{"quant_method", "fp8"}, {"weight_block_size", {128, 128}}});
  root["model_type"] = "deepseek_v4";
  expect_error(
      root,
      "model: model_type deepseek_v4 without expert_dtype does not say whether its experts are fp4 or fp8" + kHelp);
  root["quantization_config"]["expert_dtype"] = "fp8";
  EXPECT_TRUE(good(root).scheme);
}

TEST(Quantisation, AFewLayersThatDifferAreToldOf) {
  Json ten = compressed({{"group_0", float_channel()}}, {"re:.*layers\\.[02]\\.mlp\\.experts"});
  ten["num_hidden_layers"] = 10;
  const Quantisation found = good(ten);
  EXPECT_TRUE(found.scheme);
  ASSERT_EQ(found.notices.size(), 1U);
  EXPECT_EQ(found.notices[0],
            "model: 2 of 10 layers with experts (0, 2) are left in the model's own dtype, the scheme of the others is "
            "taken");
  ten = compressed({{"a", float_channel()}, {"b", int4_group({"re:.*layers.9.mlp.experts"})}});
  ten["num_hidden_layers"] = 10;
  EXPECT_EQ(good(ten).notices.at(0),
            "model: 1 of 10 layers with experts (9) is quantised as compressed-tensors int 4 bit group, the scheme of "
            "the others is taken");
}

TEST(Quantisation, WithoutThreeQuartersOfTheLayersNoSchemeWins) {
  Json root = compressed({{"a", float_channel()}}, {"re:.*layers\\.[01]\\.mlp\\.experts"});
  expect_error(root,
               "model: the experts' quantisation scheme is 'none' in 2 of 4 layers and 'compressed-tensors float 8 bit "
               "channel' in 2 of 4" +
                   kHelp);
  root["quantization_config"]["ignore"] = {"re:.*layers\\.[0]\\.mlp\\.experts"};
  EXPECT_TRUE(good(root).scheme);
}

TEST(Quantisation, LayersThatAListIsSilentOfCountOnlyWhereItIsSilentOfAll) {
  const Json fp8 = {{"quant_algo", "FP8"}};
  const auto mixed = [](const Json& layers) {
    return model({{"quant_method", "modelopt"}, {"quant_algo", "MIXED_PRECISION"}, {"quantized_layers", layers}});
  };
  const Quantisation one = good(mixed({{"model.layers.2.mlp.experts", fp8}}));
  EXPECT_TRUE(one.scheme);
  EXPECT_EQ(one.notices.at(0),
            "model: the quantisation of 1 of 4 layers with experts is listed, the others are taken to have the same");
  const Quantisation none = good(
      mixed({{"model.layers.2.mlp.shared_expert.up_proj", fp8}, {"model.layers.2.mlp.experts_norm.up_proj", fp8}}));
  EXPECT_FALSE(none.scheme);
  EXPECT_EQ(none.notices.at(0), "model: modelopt leaves the experts in the model's own dtype");
  const Json layers = {{"model.layers.2.mlp.experts.0.up_proj", fp8},
                       {"model.layers.2.mlp.experts.1.up_proj", {{"quant_algo", "NVFP4"}}}};
  expect_error(mixed(layers),
               "model: quantisation scheme 'modelopt FP8 and modelopt NVFP4 in one layer' (an expert's projections "
               "differ) is not supported" +
                   kHelp);
}

TEST(Quantisation, ProjectionsOfAnExpertThatDifferAreNamed) {
  expect_error(compressed({{"a", float_channel()}}, {"re:.*gate"}),
               "model: quantisation scheme 'compressed-tensors with gate_proj left alone and up_proj and down_proj "
               "quantised' is not supported" +
                   kHelp);
  expect_error(compressed({{"a", float_channel({"re:.*(gate|up)_proj"})}, {"b", int4_group({"re:.*down_proj"})}}),
               "model: quantisation scheme 'compressed-tensors with gate_proj float 8 bit channel, up_proj float 8 bit "
               "channel, down_proj int 4 bit group' (an expert's projections differ) is not supported" +
                   kHelp);
  expect_error(compressed({{"a", float_channel({"re:.*(gate|up)_proj"})}}),
               "model: quantisation scheme 'compressed-tensors with gate_proj float 8 bit channel, up_proj float 8 bit "
               "channel, down_proj not quantised' (an expert's projections differ) is not supported" +
                   kHelp);
}

TEST(Quantisation, ANameBeatsAClassAndALaterGroupOfAClassTheEarlier) {
  EXPECT_TRUE(good(compressed({{"group_0", int4_group()}, {"group_1", float_channel({"re:.*mlp.experts"})}})).scheme);
  EXPECT_TRUE(good(compressed({{"group_0", float_channel({"re:.*experts"})}, {"group_1", int4_group()}})).scheme);
  EXPECT_TRUE(good(compressed({{"group_10", float_channel()}, {"group_2", int4_group()}})).scheme);
}

TEST(Quantisation, TheFileBesideCountsWhereConfigJsonSaysNothing) {
  const Json beside = {{"quantization", {{"quant_algo", "FP8"}}}};
  const Json plain = {{"num_hidden_layers", 4}};
  EXPECT_EQ(good(plain, &beside).scheme->scales, Scales::per_tensor);
  EXPECT_EQ(good(model({{"quant_method", "w8a8_int8"}}), &beside).scheme->dtype, DType::int8_w8a8);
  const Json list = {
      {"quantization", {{"quantized_layers", {{"model.layers.0.mlp.experts", {{"quant_algo", "FP8"}}}}}}}};
  EXPECT_TRUE(good(model({{"quant_method", "modelopt"}, {"quant_algo", "MIXED_PRECISION"}}), &list).scheme);
  const Json cache_only = {{"quantization", {{"quant_algo", nullptr}, {"kv_cache_quant_algo", "FP8"}}}};
  EXPECT_FALSE(good(plain, &cache_only).scheme);
  const Json odd = Json::array();
  const auto found = read(plain, &odd);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().message, "model: hf_quant_config.json must hold one JSON object");
}

TEST(Quantisation, QuarkAndGptqListsThatDisagreeAreRefused) {
  const Json fp8 = {{"weight", {{"dtype", "fp8_e4m3"}, {"qscheme", "per_tensor"}}},
                    {"input_tensors", {{"dtype", "fp8_e4m3"}, {"qscheme", "per_tensor"}}}};
  const Json fp4 = {{"weight", {{"dtype", "fp4"}, {"qscheme", "per_group"}}}};
  expect_error(model({{"quant_method", "quark"}, {"layer_quant_config", {{"*experts*", fp8}, {"*mlp*", fp4}}}}),
               "model: quantisation scheme 'quark fp8_e4m3 per_tensor and quark fp4 per_group for the same layer' (two "
               "patterns of layer_quant_config name the experts) is not supported" +
                   kHelp);
  expect_error(model({{"quant_method", "gptq"}, {"bits", 8}, {"dynamic", {{"-:.*experts", 1}, {"+:.*mlp", 1}}}}),
               "model: quantisation scheme 'gptq with patterns of dynamic that disagree on the experts' is not "
               "supported" +
                   kHelp);
}

TEST(Quantisation, TheTableOfSchemesNamesEachOnce) {
  std::set<std::pair<std::string_view, std::string_view>> keys;
  for (const SchemeRow& row : scheme_rows()) {
    EXPECT_TRUE(keys.emplace(row.format, row.said).second) << row.format << " " << row.said;
    EXPECT_EQ(row.becomes == "refused", row.outcome == quantisation::Outcome::refused) << row.said;
    EXPECT_EQ(quantisation::find_scheme(row.format, row.said), &row);
  }
  EXPECT_GT(keys.size(), 80U);
}

}  // namespace
}  // namespace expertile
