// What a layer's problem means: its types, its limit, its two products, and its words.

#include <gtest/gtest.h>

#include "expertile/moe_layer.hpp"
#include "problem/sizes.hpp"

namespace expertile {
namespace {

MoeProblem some_problem(DType dtype) {
  MoeProblem problem;
  problem.experts = 3;
  problem.hidden_size = 40;
  problem.intermediate_size = 24;
  problem.top_k = 2;
  problem.dtype = dtype;
  return problem;
}

TEST(MoeProblem, HidesItsFloatsInTheDtypesOwnTypeOrInBfloat16WhereItIsQuantised) {
  EXPECT_EQ(hidden_type_of(some_problem(DType::float16)), ElementType::float16);
  EXPECT_EQ(hidden_type_of(some_problem(DType::bfloat16)), ElementType::bfloat16);
  EXPECT_EQ(hidden_type_of(some_problem(DType::float32)), ElementType::float32);
  EXPECT_EQ(hidden_type_of(some_problem(DType::fp8_w8a8)), ElementType::bfloat16);
  EXPECT_EQ(hidden_type_of(some_problem(DType::int8_w8a8)), ElementType::bfloat16);
  EXPECT_EQ(hidden_type_of(some_problem(DType::int8_w8a16)), ElementType::bfloat16);
  MoeProblem problem = some_problem(DType::fp8_w8a8);
  problem.hidden_type = ElementType::float16;
  EXPECT_EQ(hidden_type_of(problem), ElementType::float16);
}

TEST(MoeProblem, HasALimitWhereOneIsGivenAndSevenForSwigluOai) {
  MoeProblem problem;
  EXPECT_EQ(limit_of(problem), std::nullopt);
  problem.activation = Activation::swiglu_oai;
  EXPECT_EQ(limit_of(problem), 7.0F);
  problem.limit = 2.5F;
  EXPECT_EQ(limit_of(problem), 2.5F);
  problem.activation = Activation::silu;
  EXPECT_EQ(limit_of(problem), 2.5F);
}

TEST(MoeProblem, MultipliesByGateAndUpTogetherAndThenDown) {
  const MoeProblem problem = some_problem(DType::int8_w8a8);
  const Problem gate_up = gate_up_of(problem);
  EXPECT_EQ(gate_up.experts, 3);
  EXPECT_EQ(gate_up.n, 48);
  EXPECT_EQ(gate_up.k, 40);
  EXPECT_EQ(gate_up.top_k, 2);
  EXPECT_EQ(gate_up.dtype, DType::int8_w8a8);
  EXPECT_EQ(gate_up.hidden_size, 40);
  const Problem down = down_of(problem);
  EXPECT_EQ(down.experts, 3);
  EXPECT_EQ(down.n, 40);
  EXPECT_EQ(down.k, 24);
  EXPECT_EQ(down.top_k, 2);
  EXPECT_EQ(down.dtype, DType::int8_w8a8);
  EXPECT_EQ(down.hidden_size, 40);
}

TEST(MoeProblem, HasAsManyColumnsAsItIsWideWhereThereIsNoGate) {
  MoeProblem problem = some_problem(DType::bfloat16);
  problem.activation = Activation::relu2;
  EXPECT_EQ(gate_up_of(problem).n, 24);
}

TEST(MoeProblem, OfFloatsWithABlockShapeMultipliesTheRowsOfE4m3ThatTheLayerMakes) {
  for (const DType dtype : {DType::float16, DType::bfloat16, DType::float32}) {
    MoeProblem problem = some_problem(dtype);
    problem.block_shape = BlockShape{128, 64};
    for (const Problem& product : {gate_up_of(problem), down_of(problem)}) {
      EXPECT_EQ(product.dtype, DType::fp8_w8a8);
      EXPECT_EQ(product.block_shape, (BlockShape{128, 64}));
      EXPECT_EQ(scales_of(product), Scales::block);
      EXPECT_FALSE(quantises_a(product));
      EXPECT_TRUE(validate(product).has_value());
    }
  }
  MoeProblem weights_alone = some_problem(DType::int8_w8a16);
  weights_alone.block_shape = BlockShape{128, 64};
  EXPECT_EQ(gate_up_of(weights_alone).dtype, DType::int8_w8a16);
}

TEST(MoeProblem, HandsScalesAndTf32OnToItsProducts) {
  MoeProblem problem = some_problem(DType::fp8_w8a8);
  problem.scales = Scales::per_token_channel;
  EXPECT_EQ(scales_of(gate_up_of(problem)), Scales::per_token_channel);
  EXPECT_EQ(scales_of(down_of(problem)), Scales::per_token_channel);
  problem = some_problem(DType::float32);
  problem.tf32 = true;
  EXPECT_TRUE(gate_up_of(problem).tf32);
  EXPECT_TRUE(down_of(problem).tf32);
}

TEST(MoeProblem, ItsWordsAreReadAsTheyAreWritten) {
  for (const Activation one : {Activation::silu, Activation::gelu_tanh, Activation::swiglu_oai, Activation::relu2}) {
    EXPECT_EQ(parse_activation(name(one)).value(), one);
  }
  for (const GateOrder one : {GateOrder::gate_first, GateOrder::up_first, GateOrder::interleaved}) {
    EXPECT_EQ(parse_gate_order(name(one)).value(), one);
  }
  EXPECT_EQ(name(Activation::gelu_tanh), "gelu_tanh");
  EXPECT_EQ(name(GateOrder::up_first), "up_first");
  EXPECT_EQ(name(RouterWeight::output), "output");
  EXPECT_EQ(name(RouterWeight::input), "input");
  EXPECT_EQ(name(static_cast<Activation>(9)), "");
}

TEST(MoeProblem, AWordThatIsNotKnownIsNamedWithTheChoices) {
  EXPECT_EQ(parse_activation("gelu").error().message,
            "activation 'gelu' is not known; choose silu, gelu_tanh, swiglu_oai or relu2");
  EXPECT_EQ(parse_activation("gelu").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(parse_gate_order("").error().message,
            "gate order '' is not known; choose gate_first, up_first or interleaved");
}

}  // namespace
}  // namespace expertile
