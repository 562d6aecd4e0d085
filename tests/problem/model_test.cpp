// config.json files with the published field names and sizes, every quantisation variant, and hostile texts.

#include "problem/model.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "files/files.hpp"

namespace expertile {
namespace {

const std::string kModels = std::string(EXPERTILE_SOURCE_DIR) + "/tests/data/models/";

ModelSpec load(const std::string& model) {
  auto spec = load_model(kModels + model);
  EXPECT_TRUE(spec) << spec.error().message;
  return spec ? *spec : ModelSpec{};
}

void expect_sizes(const ModelSpec& spec, std::int64_t hidden, std::int64_t experts, std::int64_t top_k,
                  std::int64_t intermediate) {
  EXPECT_EQ(spec.hidden_size, hidden);
  EXPECT_EQ(spec.experts, experts);
  EXPECT_EQ(spec.top_k, top_k);
  EXPECT_EQ(spec.intermediate, intermediate);
}

TEST(Model, ReadsMixtral) {
  const ModelSpec spec = load("mixtral-8x7b");
  expect_sizes(spec, 4096, 8, 2, 14336);
  EXPECT_EQ(spec.dtype, DType::bfloat16);
}

TEST(Model, ReadsDeepSeekV3WithItsBlocks) {
  const ModelSpec spec = load("deepseek-v3");
  expect_sizes(spec, 7168, 256, 8, 2048);
  EXPECT_EQ(spec.dtype, DType::fp8_w8a8);
  EXPECT_EQ(spec.block_shape, (BlockShape{128, 128}));
}

TEST(Model, ReadsQwen3) { expect_sizes(load("qwen3-30b-a3b"), 2048, 128, 8, 768); }
TEST(Model, ReadsLlama4FromItsTextConfig) { expect_sizes(load("llama-4-scout"), 5120, 16, 1, 8192); }
TEST(Model, ReadsDbrxFromItsFfnConfig) { expect_sizes(load("dbrx"), 6144, 16, 4, 10752); }
TEST(Model, ReadsAConfigJsonByItsPath) { expect_sizes(load("mixtral-8x7b/config.json"), 4096, 8, 2, 14336); }

TEST(Model, TakesHiddenSizeAndDtypeFromADenseModelAndSaysSo) {
  const ModelSpec spec = load("mistral-7b");
  EXPECT_EQ(spec.hidden_size, 4096);
  EXPECT_FALSE(spec.experts);
  ASSERT_EQ(spec.notices.size(), 1U);
  EXPECT_EQ(spec.notices[0],
            kModels + "mistral-7b is a dense model: its hidden size and dtype are used, the experts are the defaults");
}

TEST(Model, RefusesFourBitSchemesByName) {
  const auto spec = load_model(kModels + "gpt-oss-20b");
  ASSERT_FALSE(spec);
  EXPECT_EQ(spec.error().code, ErrorCode::unsupported);
  EXPECT_EQ(spec.error().message,
            kModels +
                "gpt-oss-20b: quantisation scheme 'mxfp4' is not supported; fp8, compressed-tensors (8 bit), "
                "w8a8_int8 and modelopt FP8 are");
}

Result<ModelSpec> with_quantisation(const std::string& quantisation) {
  return parse_model_config(
      R"({"hidden_size": 64, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": [32, 48],
                               "torch_dtype": "float16", "quantization_config": )" +
          quantisation + "}",
      "test");
}

std::string compressed(const std::string& weights, const std::string& inputs) {
  return R"({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": )" + weights +
         R"(, "input_activations": )" + inputs + "}}}";
}

void expect_scheme(const Result<ModelSpec>& spec, DType dtype, std::optional<Scales> scales,
                   std::optional<BlockShape> block = {}) {
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->dtype, dtype);
  EXPECT_EQ(spec->scales, scales);
  EXPECT_EQ(spec->block_shape, block);
  EXPECT_EQ(spec->intermediate, 32);  // a list's first entry
}

TEST(Model, ReadsEveryEightBitScheme) {
  const std::string inputs = R"({"num_bits": 8, "type": "float"})";
  expect_scheme(with_quantisation(R"({"quant_method": "fp8"})"), DType::fp8_w8a8, Scales::per_tensor);
  expect_scheme(with_quantisation(R"({"quant_method": "w8a8_int8"})"), DType::int8_w8a8, {});
  expect_scheme(with_quantisation(R"({"quant_method": "modelopt", "quant_algo": "FP8"})"), DType::fp8_w8a8,
                Scales::per_tensor);
  expect_scheme(with_quantisation(compressed(R"({"num_bits": 8, "type": "float", "strategy": "channel"})", inputs)),
                DType::fp8_w8a8, Scales::per_token_channel);
  expect_scheme(with_quantisation(compressed(R"({"num_bits": 8, "type": "float", "strategy": "tensor"})", inputs)),
                DType::fp8_w8a8, Scales::per_tensor);
  expect_scheme(with_quantisation(compressed(
                    R"({"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [128, 128]})", inputs)),
                DType::fp8_w8a8, {}, BlockShape{128, 128});
  expect_scheme(with_quantisation(compressed(R"({"num_bits": 8, "type": "int", "strategy": "channel"})", inputs)),
                DType::int8_w8a8, {});
  expect_scheme(with_quantisation(compressed(R"({"num_bits": 8, "type": "int", "strategy": "channel"})", "null")),
                DType::int8_w8a16, {});
}

TEST(Model, RefusesOtherBitWidths) {
  const auto spec = with_quantisation(compressed(R"({"num_bits": 4, "type": "int", "strategy": "group"})", "null"));
  ASSERT_FALSE(spec);
  EXPECT_EQ(
      spec.error().message,
      "test: quantisation scheme 'compressed-tensors int 4 bit group' is not supported; fp8, compressed-tensors (8 "
      "bit), w8a8_int8 and modelopt FP8 are");
}

TEST(Model, SaysWhichFieldIsWrong) {
  const auto message = [](std::string_view text) { return parse_model_config(text, "test").error().message; };
  EXPECT_EQ(message(""), "test: not valid JSON at line 1, column 1");
  EXPECT_EQ(message("[]"), "test: must hold one JSON object");
  EXPECT_EQ(message("{}"), "test: hidden_size is missing, it must be a whole number");
  EXPECT_EQ(message(R"({"hidden_size": -1})"),
            "test: hidden_size is -1, it must be a whole number from 1 to 2147483648");
  EXPECT_EQ(message(R"({"hidden_size": 99999999999999999999})"),
            "test: hidden_size is 1e+20, it must be a whole number from 1 to 2147483648");
  EXPECT_EQ(message(std::string(1000000, '[')), "test: nested deeper than 64 levels");
  EXPECT_EQ(message(std::string(17 << 20, ' ')), "test: larger than 16777216 bytes, the most that is read");
}

TEST(Model, NamesAModelThatCannotBeFound) {
  const auto spec = load_model("no such model");
  ASSERT_FALSE(spec);
  EXPECT_EQ(spec.error().message, "model 'no such model' is no directory, no config.json and no org/name");
}

std::string mutate(std::string text, std::mt19937_64& generator) {
  const auto at = [&] { return generator() % (text.size() + 1); };
  for (auto changes = 1 + generator() % 4; changes > 0 && !text.empty(); --changes) {
    switch (generator() % 5) {
      case 0:
        text[generator() % text.size()] = static_cast<char>(generator());
        break;
      case 1:
        text.erase(at(), generator() % 40);
        break;
      case 2:
        text.insert(at(), text.substr(at(), generator() % 40));
        break;
      case 3:
        text.insert(at(), 1, R"({}[]",:-0e)"[generator() % 10]);
        break;
      default:
        text.resize(at());
    }
  }
  return text;
}

TEST(ModelFuzz, MutatedTextsAreRefusedInOneLineOrGiveSizes) {
  std::vector<std::string> seeds;
  for (const char* model : {"mixtral-8x7b", "deepseek-v3", "qwen3-30b-a3b", "gpt-oss-20b", "llama-4-scout", "dbrx"}) {
    seeds.push_back(*read_text(kModels + model + "/config.json", 1 << 20));
  }
  std::mt19937_64 generator(1);
  for (int i = 0; i < 100000; ++i) {
    const auto spec = parse_model_config(mutate(seeds[generator() % seeds.size()], generator), "fuzz");
    if (spec) {
      ASSERT_GE(spec->hidden_size, 1);
      ASSERT_GE(spec->experts.value_or(1), 1);
      ASSERT_GE(spec->top_k.value_or(1), 1);
    } else {
      ASSERT_EQ(spec.error().message.find('\n'), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace expertile
