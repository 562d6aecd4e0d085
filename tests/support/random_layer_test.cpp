// That random layers are as different as tests of the layer take them to be.

#include "support/random_layer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>

#include "problem/sizes.hpp"

namespace expertile::testing {
namespace {

using ::testing::Each;
using ::testing::Pair;
using ::testing::SizeIs;

using Dtype = std::tuple<DType, Scales, bool, bool>;

Dtype dtype_of(const LayerCase& layer) {
  const bool is_float16 = layer.dtype == DType::int8_w8a16 && layer.hidden == ElementType::float16;
  return {layer.dtype, layer.scales, layer.tf32, is_float16};
}

// How many values of it the layers of each dtype have.
template <class Value>
std::map<Dtype, std::set<Value>> values_of(Value (*value)(const LayerCase&)) {
  std::map<Dtype, std::set<Value>> values;
  for (const LayerCase& one : all_layer_cases()) values[dtype_of(one)].insert(value(one));
  return values;
}

TEST(RandomLayers, HaveEachValueOfEachThingWithEachDtype) {
  using Case = const LayerCase&;
  const auto activations = values_of<Activation>([](Case one) { return one.activation; });
  EXPECT_THAT(activations, SizeIs(16));
  EXPECT_THAT(activations, Each(Pair(::testing::_, SizeIs(4))));
  using Gated = std::pair<Activation, GateOrder>;
  EXPECT_THAT(values_of<Gated>([](Case one) {
                return Gated{one.activation, one.gate_order};
              }),
              Each(Pair(::testing::_, SizeIs(12))));
  EXPECT_THAT(values_of<RouterWeight>([](Case one) { return one.router_weight; }), Each(Pair(::testing::_, SizeIs(2))));
  EXPECT_THAT(values_of<bool>([](Case one) { return one.limit.has_value(); }), Each(Pair(::testing::_, SizeIs(2))));
  EXPECT_THAT(values_of<std::optional<ElementType>>([](Case one) { return one.bias; }),
              Each(Pair(::testing::_, SizeIs(3))));
  EXPECT_THAT(values_of<bool>([](Case one) { return one.ids_are_64_bits; }), Each(Pair(::testing::_, SizeIs(2))));
  EXPECT_THAT(values_of<bool>([](Case one) { return one.has_expert_map; }), Each(Pair(::testing::_, SizeIs(2))));
  EXPECT_THAT(values_of<bool>([](Case one) { return one.has_shared_output; }), Each(Pair(::testing::_, SizeIs(2))));
  EXPECT_THAT(values_of<OutIs>([](Case one) { return one.out; }), Each(Pair(::testing::_, SizeIs(3))));
  EXPECT_THAT(values_of<bool>([](Case one) { return one.is_aligned; }), Each(Pair(::testing::_, SizeIs(2))));
}

TEST(RandomLayers, OfEightBitInputsHaveEachTypeOfHiddenStates) {
  std::map<std::pair<DType, Scales>, std::set<ElementType>> types;
  for (const LayerCase& one : all_layer_cases()) {
    if (one.dtype == DType::fp8_w8a8 || one.dtype == DType::int8_w8a8)
      types[{one.dtype, one.scales}].insert(one.hidden);
  }
  EXPECT_THAT(types, SizeIs(5));
  EXPECT_THAT(types, Each(Pair(::testing::_, SizeIs(3))));
}

TEST(RandomLayers, HaveNamesOfTheirOwnByWhichTheyAreFound) {
  std::set<std::string> names;
  for (const LayerCase& one : all_layer_cases()) names.insert(one.name);
  EXPECT_THAT(names, SizeIs(all_layer_cases().size()));
  EXPECT_EQ(layer_case_named("bfloat16_0_silu_gate_first").name, "bfloat16_0_silu_gate_first");
}

TEST(RandomLayers, HaveProductsThatAreValid) {
  std::uint64_t seed = 0;
  for (const LayerCase& one : all_layer_cases()) {
    RandomLayer layer(one, ++seed);
    EXPECT_TRUE(validate(gate_up_of(layer.problem())).has_value()) << layer.describe();
    EXPECT_TRUE(validate(down_of(layer.problem())).has_value()) << layer.describe();
    const MoeLayerArgs args = layer.args();
    EXPECT_EQ(args.w13.type, weight_type(gate_up_of(layer.problem())));
    EXPECT_EQ(args.w13.rows, layer.problem().experts * gate_up_of(layer.problem()).n);
    EXPECT_EQ(static_cast<std::int64_t>(args.scale_2.size()), scale_sizes(down_of(layer.problem()), 1).b);
  }
}

TEST(RandomLayers, HaveTokensAndExpertsThatHaveNone) {
  int tokens_without = 0;
  int slots_without = 0;
  int experts_without = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    RandomLayer layer(layer_case_named("float32_0_silu_gate_first"), seed);
    const MoeLayerArgs args = layer.args();
    std::set<std::int64_t> used;
    for (std::int64_t token = 0; token < args.topk_ids.tokens; ++token) {
      std::int64_t without = 0;
      for (std::int64_t slot = 0; slot < args.topk_ids.top_k; ++slot) {
        const auto at = static_cast<std::size_t>(token * args.topk_ids.pitch + slot);
        const std::int64_t id = args.topk_ids.is_64_bits ? layer.ids_64[at] : layer.ids_32[at];
        without += id < 0 ? 1 : 0;
        used.insert(id);
      }
      tokens_without += without == args.topk_ids.top_k ? 1 : 0;
      slots_without += without > 0 ? 1 : 0;
    }
    used.erase(-1);
    experts_without += static_cast<std::int64_t>(used.size()) < layer.problem().experts ? 1 : 0;
  }
  EXPECT_GT(tokens_without, 50);
  EXPECT_GT(slots_without, 200);
  EXPECT_GT(experts_without, 20);
}

TEST(RandomLayers, KnowWhatWasWrittenWhereNothingMayBe) {
  RandomLayer layer(layer_case_named("bfloat16_0_silu_gate_first"), 3);
  const MoeLayerArgs args = layer.args();
  EXPECT_EQ(layer.overwritten(), 0);
  store_element(args.out.type, 1, args.out.data, 0);
  EXPECT_EQ(layer.overwritten(), 0);
  store_element(args.out.type, 1, args.out.data, args.out.rows * args.out.pitch);
  EXPECT_EQ(layer.overwritten(), 2);
  layer.poison();
  EXPECT_EQ(layer.overwritten(), 0);
}

TEST(RandomLayers, BringTheInputBackThatOutIs) {
  int found = 0;
  for (const LayerCase& one : all_layer_cases()) {
    if (one.out == OutIs::its_own) continue;
    ++found;
    RandomLayer layer(one, 5);
    const MoeLayerArgs args = layer.args();
    EXPECT_EQ(one.out == OutIs::hidden_states ? args.hidden_states.data : args.shared_output.data, args.out.data);
    const float before = load_element(args.out.type, args.out.data, 0);
    store_element(args.out.type, 100, args.out.data, 0);
    layer.poison();
    EXPECT_EQ(load_element(args.out.type, args.out.data, 0), before);
  }
  EXPECT_GT(found, 50);
}

}  // namespace
}  // namespace expertile::testing
