// The layer's oracle against layers that are small enough to be computed by hand.

#include "backend/moe_reference.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "problem/sizes.hpp"

namespace expertile {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::Pointwise;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

double silu(double x) { return x / (1 + std::exp(-x)); }

std::vector<std::byte> stored(ElementType type, const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * size_of(type));
  for (std::size_t i = 0; i < values.size(); ++i) {
    store_element(type, values[i], bytes.data(), static_cast<std::int64_t>(i));
  }
  return bytes;
}

// One expert, one token, H = 2, I = 1, float32: gate 2, up 0.5. Tests change what they are about.
struct TinyLayer {
  MoeProblem problem{
      .experts = 1, .hidden_size = 2, .intermediate_size = 1, .top_k = 1, .dtype = DType::float32, .hidden_type = {}};
  std::vector<float> hidden_states{1, 2};
  std::vector<float> w13{1, 0.5F, 0.5F, 0};
  std::vector<float> w2{1, -2};
  std::vector<std::int64_t> ids{0};
  std::vector<float> weights{0.5F};
  std::vector<float> scale_13{}, scale_2{}, input_scale_13{}, input_scale_2{};
  std::vector<float> bias_13{}, bias_2{}, shared_output{};
  std::vector<std::int32_t> expert_map{};

  std::vector<std::byte> bytes[3];  // of hidden_states, w13 and w2, in their types
  std::vector<std::byte> shared_bytes, out;

  MoeLayerArgs args() {
    const ElementType hidden = hidden_type_of(problem);
    const std::int64_t tokens = static_cast<std::int64_t>(hidden_states.size()) / problem.hidden_size;
    const auto matrix = [&](std::vector<std::byte>& into, const std::vector<float>& values, ElementType type,
                            std::int64_t columns) {
      into = stored(type, values);
      return ConstMatrixView{into.data(), static_cast<std::int64_t>(values.size()) / columns, columns, columns, type};
    };
    out.resize(hidden_states.size() * size_of(hidden));
    MoeLayerArgs args;
    args.hidden_states = matrix(bytes[0], hidden_states, hidden, problem.hidden_size);
    args.w13 = matrix(bytes[1], w13, weight_type(gate_up_of(problem)), problem.hidden_size);
    args.w2 = matrix(bytes[2], w2, weight_type(down_of(problem)), problem.intermediate_size);
    args.topk_ids = expertile::ids(ids.data(), tokens, problem.top_k);
    args.topk_weights = view(weights.data(), tokens, problem.top_k);
    args.out = {out.data(), tokens, problem.hidden_size, problem.hidden_size, hidden};
    args.scale_13 = scale_13;
    args.scale_2 = scale_2;
    args.input_scale_13 = input_scale_13;
    args.input_scale_2 = input_scale_2;
    if (!bias_13.empty()) args.bias_13 = view(bias_13.data(), problem.experts, gate_up_of(problem).n);
    if (!bias_2.empty()) args.bias_2 = view(bias_2.data(), problem.experts, problem.hidden_size);
    if (!shared_output.empty()) args.shared_output = matrix(shared_bytes, shared_output, hidden, problem.hidden_size);
    args.expert_map = expert_map;
    return args;
  }
  std::vector<double> value() { return reference_moe_layer(problem, args()).value; }
  // Of an out that has these.
  double error(const std::vector<float>& computed) {
    const MoeLayerArgs call = args();
    const MoeReference reference = reference_moe_layer(problem, call);
    out = stored(hidden_type_of(problem), computed);
    return worst_error_over_bound(problem, args(), reference);
  }
};

void expect_near(const std::vector<double>& value, const std::vector<double>& expected, double error = 1e-6) {
  EXPECT_THAT(value, Pointwise(DoubleNear(error), expected));
}

TEST(MoeReference, SiluOfGateTimesUpGoesThroughTheSecondProductAndTheWeight) {
  TinyLayer layer;
  const double a = silu(2) * 0.5;
  expect_near(layer.value(), {0.5 * a, 0.5 * -2 * a});
}

TEST(MoeReference, EveryActivationIsItsFormula) {
  TinyLayer layer;
  layer.weights = {1};
  layer.problem.activation = Activation::gelu_tanh;
  expect_near(layer.value(), {0.5 * 1.954597694087775, -1.954597694087775});
  layer.problem.activation = Activation::swiglu_oai;
  layer.problem.alpha = 0.5F;
  const double swiglu = 2 / (1 + std::exp(-1.0)) * 1.5;
  expect_near(layer.value(), {swiglu, -2 * swiglu});
  layer.problem.activation = Activation::relu2;
  layer.w13 = {1, 0.5F};
  expect_near(layer.value(), {4, -8});
  layer.hidden_states = {-1, -2};
  expect_near(layer.value(), {0, 0});
}

TEST(MoeReference, GateOrderSaysWhichRowsAreGate) {
  TinyLayer layer;
  layer.problem.intermediate_size = 2;
  layer.hidden_states = {1, 0};
  layer.w13 = {1, 0, 2, 0, 3, 0, 4, 0};  // C1 = 1, 2, 3, 4
  layer.w2 = {1, 0, 0, 1};
  layer.weights = {1};
  expect_near(layer.value(), {silu(1) * 3, silu(2) * 4});
  layer.problem.gate_order = GateOrder::up_first;
  expect_near(layer.value(), {silu(3) * 1, silu(4) * 2});
  layer.problem.gate_order = GateOrder::interleaved;
  expect_near(layer.value(), {silu(1) * 2, silu(3) * 4});
}

TEST(MoeReference, ALimitCutsGateAboveAndUpOnBothSides) {
  TinyLayer layer;
  layer.weights = {1};
  layer.problem.limit = 0.25F;
  expect_near(layer.value(), {silu(0.25) * 0.25, -2 * silu(0.25) * 0.25});
  layer.hidden_states = {-1, -2};
  expect_near(layer.value(), {silu(-2) * -0.25, -2 * silu(-2) * -0.25});
  layer.problem.limit.reset();
  layer.problem.activation = Activation::swiglu_oai;  // 7
  layer.problem.alpha = 1;
  layer.hidden_states = {100, -300};  // gate -50, up 50
  expect_near(layer.value(), {silu(-50) * 8, -2 * silu(-50) * 8});
}

TEST(MoeReference, BiasesAreAddedBehindEachProduct) {
  TinyLayer layer;
  layer.bias_13 = {1, -1.5F};
  layer.bias_2 = {10, 20};
  const double a = silu(3) * -1;
  expect_near(layer.value(), {0.5 * (a + 10), 0.5 * (-2 * a + 20)});
}

TEST(MoeReference, ARouterWeightOnTheInputLeavesTheOutputAlone) {
  TinyLayer layer;
  layer.problem.router_weight = RouterWeight::input;
  const double a = silu(1) * 0.25;
  expect_near(layer.value(), {a, -2 * a});
  // Rounded to the hidden type: 1.0078125 * 1.0078125 is 1.015625 in bfloat16.
  layer.problem.dtype = DType::bfloat16;
  layer.problem.activation = Activation::relu2;
  layer.hidden_states = {1.0078125F, 0};
  layer.weights = {1.0078125F};
  layer.w13 = {1, 0};
  layer.w2 = {1, 0};
  expect_near(layer.value(), {1.03125, 0});  // 1.015625^2 rounded
}

TEST(MoeReference, SlotsOfNoExpertAreSkippedAndATokenWithoutAnyHasTheSharedOutput) {
  TinyLayer layer;
  layer.problem.experts = 2;
  layer.problem.top_k = 2;
  layer.hidden_states = {1, 2, 1, 2, 1, 2};
  layer.w13 = {1, 0.5F, 0.5F, 0, 2, 1, 0.5F, 0};  // gate 2 and 4
  layer.w2 = {1, -2, 3, 5};
  layer.weights = {1, 1, 0.5F, 0.25F, 1, 1};
  layer.ids = {-1, 2, 0, 1, 1, -9};
  const double a = silu(2) * 0.5;
  const double b = silu(4) * 0.5;
  const std::vector<double> expected{0, 0, 0.5 * a + 0.25 * 3 * b, 0.5 * -2 * a + 0.25 * 5 * b, 3 * b, 5 * b};
  expect_near(layer.value(), expected);
  layer.expert_map = {-1, 1, 7, 0};
  layer.ids = {0, 2, 3, 1, 1, 4};
  expect_near(layer.value(), expected);
  layer.shared_output = {10, 20, 30, 40, 50, 60};
  std::vector<double> shifted = expected;
  for (std::size_t i = 0; i < shifted.size(); ++i) shifted[i] += layer.shared_output[i];
  expect_near(layer.value(), shifted);
}

TEST(MoeReference, ProductsAndTheSecondInputAreRoundedToTheHiddenType) {
  TinyLayer layer;
  layer.problem.dtype = DType::bfloat16;
  layer.problem.activation = Activation::relu2;
  layer.weights = {1};
  layer.hidden_states = {1, 0.00390625F};
  layer.w13 = {1, 0.5F};  // 1 + 2^-9 is 1 in bfloat16
  layer.w2 = {1, 0};
  expect_near(layer.value(), {1, 0});
  layer.w13 = {1.0078125F, 0};  // squared 1.01568603515625, 1.015625 in bfloat16; times 1.5 it is 1.5234375
  layer.w2 = {1.5F, 0};
  expect_near(layer.value(), {1.5234375, 0});
}

TEST(MoeReference, RowsAreQuantisedByTheirLargestElement) {
  TinyLayer layer;
  layer.problem.dtype = DType::int8_w8a8;
  layer.problem.hidden_type = ElementType::float32;
  layer.problem.activation = Activation::relu2;
  layer.problem.hidden_size = 2;
  layer.problem.intermediate_size = 2;
  layer.weights = {1};
  layer.hidden_states = {63.5F, 10.3F};  // scale 0.5: 127 and 21, of which the products are 63.5 and 21
  layer.w13 = {1, 0, 0, 2};
  layer.w2 = {1, 0, 0, 1};
  layer.scale_13 = {1, 1};
  layer.scale_2 = {1, 1};
  const double scale = 63.5 * 63.5 / 127;
  expect_near(layer.value(), {63.5 * 63.5, 14 * scale}, 1e-3);  // 441 / 31.75 = 13.9
  layer.hidden_states = {0, 0};
  expect_near(layer.value(), {0, 0});
}

TEST(MoeReference, BlocksOfKHaveAScaleEach) {
  TinyLayer layer;
  layer.problem.dtype = DType::float32;  // quantised to e4m3 by the layer
  layer.problem.block_shape = BlockShape{2, 1};
  layer.problem.activation = Activation::relu2;
  layer.problem.intermediate_size = 2;
  layer.weights = {1};
  layer.hidden_states = {3, 0.01F};
  layer.w13 = {1, 1, 2, 1};
  layer.w2 = {1, 2, 0, 1};
  layer.scale_13 = {2, 0.5F};
  layer.scale_2 = {1, 10};
  const double x[] = {3, 0.01F};
  const double c1[] = {2 * x[0] + 0.5 * x[1], 4 * x[0] + 0.5 * x[1]};
  const double a2[] = {c1[0] * c1[0], c1[1] * c1[1]};
  expect_near(layer.value(), {a2[0] + 20 * a2[1], 10 * a2[1]}, 1e-3);
}

TEST(MoeReference, InputScalesOfExpertsDivideAndSaturate) {
  TinyLayer layer;
  layer.problem.dtype = DType::fp8_w8a8;
  layer.problem.scales = Scales::per_tensor;
  layer.problem.hidden_type = ElementType::float32;
  layer.problem.activation = Activation::relu2;
  layer.weights = {1};
  layer.hidden_states = {1000, 3.2F};  // by 2: 448 and 1.625
  layer.w13 = {0.5F, 1};               // 224 + 1.625, by scales 2 * 0.125
  layer.w2 = {1, -1};
  layer.input_scale_13 = {2};
  layer.scale_13 = {0.125F};
  layer.input_scale_2 = {10};  // 3182.35 / 10 = 318.2: 320
  layer.scale_2 = {0.5F};
  expect_near(layer.value(), {1600, -1600});
}

TEST(MoeReference, AWeightOfEightBitsHasItsScaleByChannel) {
  TinyLayer layer;
  layer.problem.dtype = DType::int8_w8a16;
  layer.weights = {1};
  layer.w13 = {4, 2, 5, 0};
  layer.w2 = {100, -50};
  layer.scale_13 = {0.25F, 0.125F};  // 2 and 0.625
  layer.scale_2 = {0.01F, 0.5F};
  const double a = to_float(to_bfloat16(static_cast<float>(silu(2) * 0.625)));
  const auto rounded = [](double x) { return to_float(to_bfloat16(static_cast<float>(x))); };
  expect_near(layer.value(), {rounded(a * 100 * 0.01F), rounded(a * -25)});
}

TEST(MoeReferenceBound, IsHalfAStepOfTheHiddenTypeWhereEverySumIsExact) {
  TinyLayer layer;
  layer.problem.dtype = DType::bfloat16;
  layer.problem.activation = Activation::relu2;
  layer.weights = {1.001953125F};  // 2^-9 above 1: the out between 4 and its neighbours
  layer.w13 = {1, 0.5F};
  layer.w2 = {1, 1};
  const MoeReference reference = reference_moe_layer(layer.problem, layer.args());
  EXPECT_THAT(reference.value, ElementsAre(4.0078125, 4.0078125));
  EXPECT_THAT(reference.bound, ElementsAre(0.0078125, 0.0078125));
  EXPECT_LE(layer.error({4, 4}), 1);
  EXPECT_GT(layer.error({4.03125F, 4}), 1);
  EXPECT_GT(layer.error({4, 3.984375F}), 1);
}

TEST(MoeReferenceBound, OpensByAStepWhereAQuotientLiesOnABoundaryAndNowhereElse) {
  TinyLayer layer;
  layer.problem.dtype = DType::fp8_w8a8;
  layer.problem.scales = Scales::per_tensor;
  layer.problem.hidden_type = ElementType::float32;
  layer.problem.activation = Activation::relu2;
  layer.weights = {1};
  layer.hidden_states = {1, 0};
  layer.w13 = {1, 0};
  layer.w2 = {1, 2};
  layer.input_scale_13 = {1};
  layer.scale_13 = {1};
  layer.scale_2 = {1};
  layer.input_scale_2 = {1.0F / 17};  // 17 is between 16 and 18
  EXPECT_LE(layer.error({16.0F / 17, 32.0F / 17}), 1);
  EXPECT_LE(layer.error({18.0F / 17, 36.0F / 17}), 1);
  EXPECT_GT(layer.error({20.0F / 17, 32.0F / 17}), 1);
  layer.input_scale_2 = {1.0F / 17.01F};
  EXPECT_LE(layer.error({18.0F / 17.01F, 36.0F / 17.01F}), 1);
  EXPECT_GT(layer.error({16.0F / 17.01F, 32.0F / 17.01F}), 1);
}

TEST(MoeReferenceBound, GrowsWithWhatAKernelsSumsMayErr) {
  TinyLayer layer;
  const double bound = reference_moe_layer(layer.problem, layer.args()).bound[0];
  EXPECT_LT(bound, 1e-5);
  EXPECT_GT(reference_moe_layer(layer.problem, layer.args(), 0x1p-10).bound[0], 100 * bound);
  layer.problem.tf32 = true;
  EXPECT_GT(reference_moe_layer(layer.problem, layer.args()).bound[0], 100 * bound);
}

TEST(MoeReferenceBound, AsksForNaNsWhereTheyAreAndNowhereElse) {
  TinyLayer layer;
  layer.problem.hidden_size = 2;
  layer.hidden_states = {1, 2, kNaN, 2};
  layer.ids = {0, 0};
  layer.weights = {1, 1};
  const double a = silu(2) * 0.5;
  const auto x = static_cast<float>(a);
  EXPECT_LE(layer.error({x, -2 * x, kNaN, kNaN}), 1);
  EXPECT_EQ(layer.error({x, -2 * x, kNaN, 0}), kInfinity);
  EXPECT_EQ(layer.error({x, kNaN, kNaN, kNaN}), kInfinity);
  layer.problem.limit = 1;
  EXPECT_EQ(layer.error({0, 0, 0, 0}), kInfinity);
  layer.problem.dtype = DType::int8_w8a8;
  layer.problem.hidden_type = ElementType::float32;
  layer.problem.limit.reset();
  layer.scale_13 = {1, 1};
  layer.scale_2 = {1, 1};
  EXPECT_EQ(layer.error({0, 0, 0, 0}), kInfinity);
}

TEST(MoeReferenceBound, AnInfinityThatIsCertainIsTheOnlyRightOne) {
  TinyLayer layer;
  layer.problem.dtype = DType::float16;
  layer.shared_output = {60000, -60000};
  layer.w2 = {30000, -30000};  // 60000 + 0.5 * 26400
  const auto infinity = static_cast<float>(kInfinity);
  EXPECT_LE(layer.error({infinity, -infinity}), 1);
  EXPECT_GT(layer.error({65504, -infinity}), 1);
  EXPECT_GT(layer.error({infinity, infinity}), 1);
}

}  // namespace
}  // namespace expertile
