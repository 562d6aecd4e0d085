// Sections that nobody meant well: odd kinds in every field, patterns without end, lists without end.

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "problem/quantisation/quantisation.hpp"

namespace expertile {
namespace {

using Json = nlohmann::json;

const std::string kModels = std::string(EXPERTILE_SOURCE_DIR) + "/tests/data/quantised_models/";

Json model(const Json& section, int layers = 48) {
  return {{"model_type", "qwen3_moe"}, {"num_hidden_layers", layers}, {"quantization_config", section}};
}

Json compressed(const Json& ignore) {
  const Json weights = {{"num_bits", 8}, {"type", "int"}, {"strategy", "channel"}};
  return {
      {"quant_method", "compressed-tensors"}, {"config_groups", {{"a", {{"weights", weights}}}}}, {"ignore", ignore}};
}

std::string error_of(const Json& root) {
  const auto found = read_quantisation(root, nullptr, "model");
  return found ? "" : found.error().message;
}

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Whatever it holds, a document is read or refused with one line that names it.
void expect_an_answer(const Json& root, const Json* beside) {
  const auto found = read_quantisation(root, beside, "model");
  if (found) return;
  const std::string& line = found.error().message;
  EXPECT_TRUE(line.starts_with("model: ")) << line;
  EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  EXPECT_LT(line.size(), 600U) << line;
  EXPECT_NE(found.error().code, ErrorCode::internal) << line;
}

const std::vector<Json>& odd_values() {
  static const std::vector<Json> values = {nullptr,
                                           true,
                                           5,
                                           -1,
                                           1.5,
                                           18446744073709551615U,
                                           "",
                                           "re:(",
                                           "a\nb",
                                           "\xff",
                                           Json::array(),
                                           Json::object(),
                                           {5},
                                           {{nullptr}},
                                           {{"x", 5}},
                                           {"re:.*"},
                                           {{"x", {{"weights", {{"num_bits", "x"}}}}}},
                                           {0, 0},
                                           {128, "128x"},
                                           {{"re:", 1}}};
  return values;
}

// Replaces each value below node in turn, but for all after the first two of a long list.
void each_place(Json& node, const std::function<void()>& try_it, int depth = 0) {
  const Json kept = node;
  for (const Json& value : odd_values()) {
    node = value;
    try_it();
  }
  node = kept;
  if (!node.is_structured() || depth > 5) return;
  std::size_t tried = 0;
  for (Json& inner : node) {
    if (node.size() > 20 && ++tried > 2) break;
    each_place(inner, try_it, depth + 1);
  }
}

// The same document with few layers and short lists, so that many changes of it can be tried.
Json shortened(Json document) {
  if (document.is_array() && document.size() > 8) document.erase(document.begin() + 8, document.end());
  for (const char* key : {"num_hidden_layers", "num_layers", "n_layers"}) {
    if (document.is_object() && document.contains(key)) document[key] = 5;
  }
  while (document.is_object() && document.size() > 60) document.erase(std::prev(document.end()));
  if (!document.is_structured()) return document;
  for (Json& inner : document) inner = shortened(inner);
  return document;
}

TEST(HostileQuantisation, OddKindsInEveryFieldAreErrorsAndNeverThrow) {
  for (const auto& folder : std::filesystem::directory_iterator(kModels)) {
    if (!folder.is_directory()) continue;
    std::ifstream stream(folder.path() / "config.json");
    Json root = shortened(Json::parse(stream, nullptr, false));
    ASSERT_TRUE(root.is_object()) << folder.path();
    SCOPED_TRACE(folder.path().filename().string());
    const auto try_it = [&root] { EXPECT_NO_THROW(expect_an_answer(root, nullptr)); };
    for (const char* key : {"quantization_config", "compression_config", "quantization"}) {
      if (root.contains(key)) each_place(root[key], try_it);
    }
    const auto hf = folder.path() / "hf_quant_config.json";
    if (!std::filesystem::exists(hf)) continue;
    std::ifstream beside_stream(hf);
    Json beside = shortened(Json::parse(beside_stream, nullptr, false));
    root.erase("quantization_config");
    each_place(beside, [&] { EXPECT_NO_THROW(expect_an_answer(root, &beside)); });
  }
}

TEST(HostileQuantisation, OddKindsBesideTheSectionAreErrorsAndNeverThrow) {
  Json root = model(compressed({"lm_head"}));
  for (const char* key :
       {"model_type", "num_hidden_layers", "first_k_dense_replace", "moe_layer_freq", "mlp_only_layers", "expert_dtype",
        "decoder_sparse_step", "moe_layers_enum", "hybrid_override_pattern", "mlp_layer_types", "text_config",
        "thinker_config", "moe_layers", "expert_layer_period", "moe_layer_end_index"}) {
    SCOPED_TRACE(key);
    Json changed = root;
    for (const Json& value : odd_values()) {
      changed[key] = value;
      EXPECT_NO_THROW(expect_an_answer(changed, nullptr)) << value;
    }
  }
}

TEST(HostileQuantisation, FieldsOfTheWrongKindAreNamed) {
  EXPECT_EQ(error_of({{"quantization_config", "fp8"}}), "model: quantization_config is \"fp8\", it must be an object");
  EXPECT_EQ(error_of(model({{"quant_method", 5}})), "model: quantization_config.quant_method is 5, it must be a text");
  EXPECT_EQ(error_of(model(compressed("lm_head"))),
            "model: quantization_config.ignore is \"lm_head\", it must be a list of names");
  EXPECT_EQ(error_of(model(compressed({"lm_head", 7}))),
            "model: quantization_config.ignore has 7, every entry must be a name");
  EXPECT_EQ(error_of(model({{"quant_method", "fp8"}, {"weight_block_size", {0, 128}}})),
            "model: quantization_config.weight_block_size is [0,128], it must be two whole numbers from 1");
  EXPECT_EQ(error_of(model({{"quant_method", "fp8"}, {"activation_scheme", "fixed"}})),
            "model: quantization_config.activation_scheme is \"fixed\", it must be static or dynamic");
  EXPECT_EQ(error_of(model({{"quant_method", "compressed-tensors"}})),
            "model: quantization_config.config_groups is missing, it must be an object with a group in it");
  EXPECT_EQ(error_of(model({{"quant_method", "compressed-tensors"}, {"config_groups", {{"a", {{"x", 1}}}}}})),
            "model: quantization_config.config_groups.a.weights is missing, it must be an object");
  EXPECT_EQ(error_of(model({{"quant_method", "quark"}})),
            "model: quantization_config.global_quant_config is missing, it must be an object");
  EXPECT_EQ(error_of(model(compressed({"re:a(b"}))),
            "model: quantization_config.ignore: pattern 'a(b' is no regular expression: missing closing parenthesis");
}

TEST(HostileQuantisation, PatternsWithoutEndStopSoon) {
  const double seconds = seconds_of([] {
    EXPECT_EQ(error_of(model(compressed({"re:(.*)*(.*)*(.*)*x$"}))),
              "model: quantization_config.ignore: pattern '(.*)*(.*)*(.*)*x$' takes too long to match");
    const std::string stars = "*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*z";
    const Json section = {{"quant_algo", "FP8"},
                          {"exclude_modules", std::vector<std::string>(1999, "*e*e*e*" + stars)}};
    EXPECT_NO_THROW(expect_an_answer(model(section, 1000), nullptr));
    std::vector<std::string> patterns;
    for (int i = 0; i < 1999; ++i) patterns.push_back("re:.*e.*e.*p.*" + std::to_string(i) + "z");
    EXPECT_NE(error_of(model(compressed(patterns), 1000)).find("takes too long to match"), std::string::npos);
  });
  EXPECT_LT(seconds, 60.0);
}

TEST(HostileQuantisation, TooManyPatternsAreRefused) {
  EXPECT_EQ(error_of(model(compressed(std::vector<std::string>(2001, "re:x")))),
            "model: quantization_config.ignore has more than 2000 patterns, the most that are read");
}

TEST(HostileQuantisation, HundredThousandNamesAreReadAtOnce) {
  std::vector<std::string> names;
  Json layers;
  for (int i = 0; i < 100'000; ++i) {
    names.push_back("model.layers." + std::to_string(i % 90) + ".mlp.experts_" + std::to_string(i));
    layers["model.layers." + std::to_string(i % 60) + ".mlp.experts." + std::to_string(i / 60) + ".up_proj"] = {
        {"quant_algo", "NVFP4"}, {"group_size", 16}};
  }
  const double seconds = seconds_of([&] {
    EXPECT_EQ(error_of(model(compressed(names), 90)), "");
    EXPECT_EQ(error_of(model({{"quant_method", "fp8"}, {"ignored_layers", names}}, 90)), "");
    EXPECT_EQ(error_of(model({{"quant_algo", "FP8"}, {"ignore", names}}, 90)), "");
    const Json mixed = {{"quant_algo", "MIXED_PRECISION"}, {"quantized_layers", layers}};
    EXPECT_NE(error_of(model(mixed, 90)).find("'modelopt NVFP4' (4 bit)"), std::string::npos);
  });
  EXPECT_LT(seconds, 20.0);  // a second on an idle machine
}

}  // namespace
}  // namespace expertile
