// What the options and a model's files make of a layer, and the lines that say so.

#include "run/layer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "support/run_program.hpp"

namespace expertile::run {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr const char* kBlockQuantised = R"({
    "model_type": "deepseek_v3", "hidden_size": 512, "torch_dtype": "bfloat16", "n_routed_experts": 6,
    "num_experts_per_tok": 4, "moe_intermediate_size": 768, "hidden_act": "silu", "num_hidden_layers": 4,
    "quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}})";
constexpr const char* kFourBit = R"({
    "hidden_size": 512, "torch_dtype": "bfloat16", "num_experts": 6, "num_experts_per_tok": 4, "hidden_act": "silu",
    "moe_intermediate_size": 768, "quantization_config": {"quant_method": "mxfp4"}})";

class LayerOfAModel : public ::testing::Test {
 protected:
  void write(const std::string& config) { std::ofstream(directory_.path() / "config.json") << config; }
  Result<Layer> layer(TextOptions text) {
    notices_.clear();
    text.model = directory_.path();
    const auto whole = make_layer(text, notices_);
    return whole ? share_of_a_rank(*whole, text, notices_) : whole;
  }
  std::string refusal(const TextOptions& text) {
    const auto made = layer(text);
    if (made) return "no refusal";
    EXPECT_EQ(exit_status(made.error()), 2);
    return made.error().message;
  }
  [[nodiscard]] std::string path() const { return directory_.path(); }

  test::TemporaryDirectory directory_;
  std::vector<std::string> notices_;
};

TEST_F(LayerOfAModel, IsRefusedWhereItsScalesCannotBeSplit) {
  write(kBlockQuantised);
  EXPECT_EQ(
      refusal({.tp_size = "4"}),
      "--tp-size '4' leaves a rank 192 of an expert's 768 columns, which is no multiple of the quantisation block "
      "128: the scales cannot be split so; give --ep-size instead");
  EXPECT_TRUE(layer({.tp_size = "2"}));
  EXPECT_TRUE(layer({.dtype = "bfloat16", .tp_size = "4"})) << "no scales, no blocks";
}

TEST_F(LayerOfAModel, IsRefusedWhereEpDoesNotDivideTheExperts) {
  write(kBlockQuantised);
  EXPECT_EQ(
      refusal({.ep_size = "4"}),
      "--ep-size '4' does not divide the 6 experts; give a divisor of 6, or, without --ep-size, --num-experts 2 of "
      "the rank with the most");
}

TEST_F(LayerOfAModel, SaysWhatBothKindsOfRanksMeanElsewhere) {
  write(kBlockQuantised);
  const auto made = layer({.tp_size = "2", .ep_size = "2"});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->experts, 3);
  EXPECT_EQ(made->intermediate, 384);
  ASSERT_GE(notices_.size(), 1U);
  EXPECT_EQ(
      notices_[0],
      "--tp-size 2 and --ep-size 2: a rank has 1/2 of the experts and 1/2 of their width (E=3, N=768); SGLang means "
      "by the same options 1/2 of the experts at their whole width (E=3, N=1536); vLLM's --tensor-parallel-size 2 "
      "with --enable-expert-parallel means 1/2 of the experts at their whole width (E=3, N=1536)");
}

TEST_F(LayerOfAModel, TakesTheSchemeFromTheOptionsAndSaysSo) {
  write(kFourBit);
  EXPECT_EQ(refusal({}), path() +
                             ": quantisation scheme 'mxfp4' (MXFP4, 4 bit) is not supported; give --dtype (and "
                             "--block-shape) to tune the sizes with another scheme");
  const auto made = layer({.dtype = "fp8_w8a8", .block_shape = "128,128"});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->block_shape, (BlockShape{128, 128}));
  EXPECT_THAT(notices_,
              ElementsAre("the sizes are the model's, the scheme is --dtype fp8_w8a8 --block-shape 128,128: " + path() +
                          ": quantisation scheme 'mxfp4' (MXFP4, 4 bit) is not supported; give --dtype (and "
                          "--block-shape) to tune the sizes with another scheme"));
}

TEST_F(LayerOfAModel, SaysNothingOfADTypeThatIsNotTuned) {
  write(kBlockQuantised);
  const auto made = layer({});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->dtype, DType::fp8_w8a8);
  EXPECT_THAT(notices_, IsEmpty());
}

TEST_F(LayerOfAModel, IsWhatTheOptionsSayWhereTheFileSaysNothing) {
  write(R"({"hidden_size": 512, "torch_dtype": "bfloat16", "num_experts": 6})");
  EXPECT_NE(refusal({}).find("; give --top-k"), std::string::npos);
  EXPECT_NE(refusal({.top_k = "2"}).find("; give --intermediate-size"), std::string::npos);
  const auto made = layer({.top_k = "2", .intermediate_size = "96", .expert_hidden_size = "64", .activation = "relu2"});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->expert_hidden_size, 64);
  const auto problems = make_problems(*made, {});
  ASSERT_TRUE(problems);
  EXPECT_EQ((*problems)[0].projection, "up");
  EXPECT_EQ((*problems)[0].problem.n, 96);
  EXPECT_EQ((*problems)[0].problem.k, 64);
  EXPECT_EQ((*problems)[1].problem.n, 64);
  EXPECT_EQ(hidden_size_of((*problems)[1].problem), 512);
}

std::string refused(const TextOptions& text) {
  std::vector<std::string> notices;
  const auto layer = make_layer(text, notices);
  if (!layer) return layer.error().message;
  const auto problems = make_problems(*layer, text);
  return problems ? "no refusal" : problems.error().message;
}

TEST(Layer, NamesTheOptionTheValueAndWhatWouldBeRight) {
  EXPECT_EQ(refused({.activation = "tanh"}),
            "--activation 'tanh' is not known; choose silu, gelu, gelu_tanh, swiglu_oai, relu or relu2");
  EXPECT_EQ(refused({.gated = "maybe"}), "--gated 'maybe' is not known; choose yes or no");
  EXPECT_EQ(refused({.scales = "fine"}),
            "--scales 'fine' is not known; choose per_tensor, per_token_channel, per_channel or block");
  EXPECT_EQ(refused({.dtype = "fp8_w8a8", .scales = "block"}),
            "--scales 'block' needs to know the block; give --block-shape N,K too");
  EXPECT_EQ(refused({.dtype = "fp8_w8a8", .block_shape = "128,128", .scales = "per_tensor"}),
            "--scales 'per_tensor' cannot go with the block shape 128,128; give block, or --dtype without a block");
  EXPECT_EQ(refused({.dtype = "int8_w8a8", .scales = "per_tensor"}),
            "scales 'per_tensor' do not fit dtype int8_w8a8 without a block_shape");
  EXPECT_EQ(refused({.projection = "up"}),
            "--projection 'up' is not there: the experts have a gate; choose gate_up, down or both");
  EXPECT_EQ(refused({.projection = "gate_up", .gated = "no"}),
            "--projection 'gate_up' is not there: the experts have no gate; choose up, down or both");
  EXPECT_EQ(refused({.projection = "sideways"}), "--projection 'sideways' is not known; choose gate_up, down or both");
}

}  // namespace
}  // namespace expertile::run
