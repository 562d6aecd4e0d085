// config.json files with the published field names and sizes, every quantisation variant, and hostile texts.

#include "problem/model.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <random>
#include <string>

#include "files/files.hpp"
#include "support/fuzz.hpp"

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
  EXPECT_EQ(spec.hidden_size.value(), hidden);
  EXPECT_EQ(spec.experts.value(), experts);
  EXPECT_EQ(spec.top_k.value(), top_k);
  EXPECT_EQ(spec.intermediate.value(), intermediate);
}

TEST(Model, ReadsMixtral) {
  const ModelSpec spec = load("mixtral-8x7b");
  expect_sizes(spec, 4096, 8, 2, 14336);
  EXPECT_EQ(spec.dtype.value(), DType::bfloat16);
  EXPECT_EQ(spec.activation.name, "silu");
  EXPECT_TRUE(spec.activation.is_gated);
  EXPECT_TRUE(spec.notices.empty());
}

TEST(Model, ReadsDeepSeekV3WithItsBlocks) {
  const ModelSpec spec = load("deepseek-v3");
  expect_sizes(spec, 7168, 256, 8, 2048);
  EXPECT_EQ(spec.quantisation.value().scheme->dtype, DType::fp8_w8a8);
  EXPECT_EQ(spec.quantisation.value().scheme->block_shape, (BlockShape{128, 128}));
}

TEST(Model, ReadsQwen3) { expect_sizes(load("qwen3-30b-a3b"), 2048, 128, 8, 768); }
TEST(Model, ReadsLlama4FromItsTextConfig) { expect_sizes(load("llama-4-scout"), 5120, 16, 1, 8192); }
TEST(Model, ReadsDbrxFromItsFfnConfig) { expect_sizes(load("dbrx"), 6144, 16, 4, 10752); }
TEST(Model, ReadsAConfigJsonByItsPath) { expect_sizes(load("mixtral-8x7b/config.json"), 4096, 8, 2, 14336); }

TEST(Model, TakesHiddenSizeAndDtypeFromADenseModelAndSaysSo) {
  const ModelSpec spec = load("mistral-7b");
  EXPECT_EQ(spec.hidden_size.value(), 4096);
  EXPECT_FALSE(spec.experts.value());
  ASSERT_EQ(spec.notices.size(), 1U);
  EXPECT_EQ(spec.notices[0],
            kModels + "mistral-7b is a dense model: its hidden size and dtype are used, the experts are the defaults");
}

// What a configuration with these members says, beside a hidden size and a dtype.
ModelSpec with(const std::string& members) {
  const auto spec =
      parse_model_config(R"({"hidden_size": 64, "dtype": "float16", "hidden_act": "silu", )" + members + "}", "test");
  EXPECT_TRUE(spec) << spec.error().message;
  return spec ? *spec : ModelSpec{};
}

template <class T>
std::string message(const Result<T>& result) {
  return result ? "no error" : result.error().message;
}

const std::string kExperts = R"("num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32)";

TEST(Model, NamesTheOptionThatSaysWhatIsMissing) {
  EXPECT_EQ(
      message(with(R"("num_experts": 4, "moe_intermediate_size": 32)").top_k),
      "test: no field that is known says the experts a token goes to (num_experts_per_tok, num_experts_per_token, "
      "experts_per_token, top_k_experts, moe_topk, moe_top_k, moe_k, moe_router_topk, "
      "moe_num_active_primary_experts); give --top-k");
  EXPECT_EQ(message(with(R"("num_experts": 4, "num_experts_per_tok": 2)").intermediate),
            "test: no field that is known says the experts' width (moe_intermediate_size, expert_ffn_hidden_size, "
            "expert_hidden_dim, moe_ffn_hidden_size); give --intermediate-size");
  EXPECT_EQ(message(with(R"("size_experts": 4)").experts),
            "test: no field that is known says the number of routed experts (n_routed_experts, moe_num_experts, "
            "num_local_experts, num_experts, moe_num_primary_experts), \"size_experts\" may but is not known; give "
            "--num-experts");
}

TEST(Model, TakesNoDenseWidthForTheExperts) {
  const std::string counts = R"("num_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 512)";
  EXPECT_EQ(with(counts).intermediate.value(), 512);
  EXPECT_EQ(message(with(counts + R"(, "first_k_dense_replace": 1)").intermediate),
            "test: intermediate_size is the width of the dense layers or of the shared experts here, and no field that "
            "is known says the experts' (moe_intermediate_size, expert_ffn_hidden_size, expert_hidden_dim, "
            "moe_ffn_hidden_size); give --intermediate-size");
  EXPECT_EQ(with(counts + R"(, "first_k_dense_replace": 1, "dense_intermediate_size": 9)").intermediate.value(), 512);
  EXPECT_EQ(message(with(R"("num_experts": 4, "num_experts_per_tok": 2, "ffn_hidden_size": 512)").intermediate),
            "test: ffn_hidden_size 512 may be the dense layers' width, the experts' or twice that; give "
            "--intermediate-size");
}

TEST(Model, TakesNoSideBetweenTwoNamesThatDisagree) {
  EXPECT_EQ(with(kExperts + R"(, "experts_per_token": 2)").top_k.value(), 2);
  EXPECT_EQ(message(with(kExperts + R"(, "experts_per_token": 3)").top_k),
            "test: num_experts_per_tok is 2 and experts_per_token is 3, and both say the experts a token goes to; give "
            "--top-k");
}

TEST(Model, ReadsListsOfLayersThatAreAlike) {
  const std::string counts = R"("num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": )";
  EXPECT_EQ(with(counts + "[0, 32, 32]").intermediate.value(), 32);
  EXPECT_EQ(message(with(counts + "[32, 48]").intermediate),
            "test: moe_intermediate_size has layers of 32 and of 48; give --intermediate-size of the layers to tune");
  const ModelSpec spec = with(counts + R"([32, 16], "vision_config": {})");
  EXPECT_EQ(spec.intermediate.value(), 32);
  ASSERT_EQ(spec.notices.size(), 1U);
  EXPECT_EQ(spec.notices[0],
            "test: moe_intermediate_size is [32,16], one entry for text and one for images: the text's is taken");
}

TEST(Model, KnowsADenseModelByItsSwitches) {
  EXPECT_FALSE(with(R"("num_local_experts": 0, "num_experts_per_tok": 0)").experts.value());
  EXPECT_FALSE(with(R"("num_experts": 1)").experts.value());
  EXPECT_FALSE(with(kExperts + R"(, "enable_moe_block": false)").experts.value());
}

TEST(Model, ReadsExpertsInALatentSpaceAndWithoutAGate) {
  const ModelSpec spec = with(kExperts + R"(, "moe_latent_size": 24, "mlp_hidden_act": "relu2")");
  EXPECT_EQ(spec.expert_hidden_size.value(), 24);
  EXPECT_EQ(spec.activation.name, "relu2");
  EXPECT_FALSE(spec.activation.is_gated);
  const ModelSpec odd = with(kExperts + R"(, "mlp_hidden_act": "situ")");
  EXPECT_TRUE(odd.activation.is_gated);
  EXPECT_TRUE(odd.notices.empty());
  EXPECT_EQ(odd.activation_notice,
            "test: mlp_hidden_act \"situ\" is not known: experts with a gate are taken; --gated no says otherwise");
}

TEST(Model, NamesFieldsOfExpertsThatAreNotKnown) {
  const ModelSpec spec = with(kExperts + R"(, "big_expert_size": 7, "n_shared_experts": 1)");
  ASSERT_EQ(spec.notices.size(), 1U);
  EXPECT_EQ(spec.notices[0], "test: \"big_expert_size\" looks like a field of experts and is not known");
}

TEST(Model, ReadsNumbersAsPythonWritesThem) {
  const ModelSpec spec =
      with(kExperts + R"(, "time_step_limit": [0.0, Infinity], "a": -Infinity, "b":NaN, "c": "NaN")");
  EXPECT_EQ(spec.top_k.value(), 2);
  EXPECT_EQ(message(with(R"("num_experts": 4, "num_experts_per_tok": NaN)").top_k),
            "test: num_experts_per_tok is \"NaN\", it must be a whole number from 1 to 2147483648");
  EXPECT_EQ(parse_model_config(R"({"hidden_size": NaNs})", "test").error().message,
            "test: not valid JSON at line 1, column 17");
}

TEST(Model, SaysWhichFieldIsWrong) {
  const auto refusal = [](std::string_view text) { return message(parse_model_config(text, "test")); };
  EXPECT_EQ(refusal(""), "test: not valid JSON at line 1, column 1");
  EXPECT_EQ(refusal("[]"), "test: must hold one JSON object");
  EXPECT_EQ(refusal(std::string(1000000, '[')), "test: nested deeper than 64 levels");
  EXPECT_EQ(refusal(std::string(17 << 20, ' ')), "test: larger than 16777216 bytes, the most that is read");
  const auto of_hidden = [](std::string_view text) { return message(parse_model_config(text, "test")->hidden_size); };
  EXPECT_EQ(of_hidden("{}"), "test: hidden_size is missing, it must be a whole number; give --hidden-size");
  EXPECT_EQ(of_hidden(R"({"hidden_size": -1})"),
            "test: hidden_size is -1, it must be a whole number from 1 to 2147483648");
  EXPECT_EQ(of_hidden(R"({"hidden_size": 99999999999999999999})"),
            "test: hidden_size is 1e+20, it must be a whole number from 1 to 2147483648");
  EXPECT_EQ(message(with(kExperts + R"(, "torch_dtype": "float64")").dtype),
            "test: dtype \"float64\" is not supported; float16, bfloat16 and float32 are; give --dtype");
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

template <class T>
void expect_a_size_or_one_line(const Result<T>& result, const std::function<bool(const T&)>& is_good) {
  if (result) {
    ASSERT_TRUE(is_good(*result));
  } else {
    ASSERT_EQ(result.error().message.find('\n'), std::string::npos);
    ASSERT_LE(result.error().message.size(), 1000U);
  }
}

TEST(ModelFuzz, MutatedTextsAreRefusedInOneLineOrGiveSizes) {
  std::vector<std::string> seeds;
  for (const auto& entry : std::filesystem::directory_iterator(kModels)) {
    const auto text = read_text(entry.path() / "config.json", 1 << 20);
    if (text && text->size() < (16 << 10)) seeds.push_back(*text);
  }
  ASSERT_GE(seeds.size(), 20U);
  std::sort(seeds.begin(), seeds.end());  // a directory's order is any
  std::mt19937_64 generator(1);
  for (int i = testing::fuzz_inputs(50000); i > 0; --i) {
    const std::string text = mutate(seeds[generator() % seeds.size()], generator);
    const bool has_beside = generator() % 8 == 0;
    const auto beside = has_beside ? std::optional(mutate(seeds[generator() % seeds.size()], generator)) : std::nullopt;
    const auto spec = parse_model_config(text, "fuzz", beside);
    expect_a_size_or_one_line<ModelSpec>(spec, [](const auto&) { return true; });
    if (!spec) continue;
    const auto positive = [](const std::int64_t& size) { return size >= 0; };
    const auto none_or_positive = [](const std::optional<std::int64_t>& size) { return !size || *size >= 1; };
    expect_a_size_or_one_line<std::int64_t>(spec->hidden_size, positive);
    expect_a_size_or_one_line<std::int64_t>(spec->top_k, positive);
    expect_a_size_or_one_line<std::int64_t>(spec->intermediate, positive);
    expect_a_size_or_one_line<std::optional<std::int64_t>>(spec->experts, none_or_positive);
    expect_a_size_or_one_line<std::optional<std::int64_t>>(spec->expert_hidden_size, none_or_positive);
    expect_a_size_or_one_line<Quantisation>(spec->quantisation, [](const auto&) { return true; });
    for (const std::string& notice : spec->notices) ASSERT_EQ(notice.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace expertile
