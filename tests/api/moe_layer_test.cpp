#include "expertile/moe_layer.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "backend/moe_reference.hpp"
#include "support/layer_workspace.hpp"
#include "support/random_layer.hpp"

namespace expertile {
namespace {

using testing::LayerCase;
using testing::RandomLayer;

// More of them: EXPERTILE_LAYERS=2000.
int layers_a_case() {
  const char* wanted = std::getenv("EXPERTILE_LAYERS");
  return wanted == nullptr ? 1 : std::max(1, std::atoi(wanted) / static_cast<int>(testing::all_layer_cases().size()));
}

class LayerOnACpu : public ::testing::TestWithParam<LayerCase> {};

TEST_P(LayerOnACpu, AgreesWithTheReference) {
  for (int i = 0; i < layers_a_case(); ++i) {
    RandomLayer layer(GetParam(), 7000 + static_cast<std::uint64_t>(i));
    const auto prepared = MoeLayer::prepare(layer.problem(), {.device = "cpu", .threads = 2, .config_dir = "/nowhere"});
    ASSERT_TRUE(prepared) << prepared.error().message;
    layer.poison();
    MoeLayerArgs args = layer.args();
    const MoeReference reference = reference_moe_layer(layer.problem(), args);
    testing::LayerWorkspace workspace(prepared->workspace_bytes(args.hidden_states.rows));
    args.workspace = workspace.span();
    const auto status = (*prepared)(args);
    ASSERT_TRUE(status) << status.error().message << "\n" << layer.describe();
    EXPECT_LE(worst_error_over_bound(layer.problem(), args, reference), 1.0) << layer.describe();
    EXPECT_EQ(layer.overwritten(), 0) << layer.describe();
    EXPECT_TRUE(workspace.is_intact()) << layer.describe();
  }
}

INSTANTIATE_TEST_SUITE_P(Every, LayerOnACpu, ::testing::ValuesIn(testing::all_layer_cases()),
                         [](const auto& one) { return one.param.name; });

// Each token of a batch once more by itself.
TEST(BatchInvariantLayer, GivesATokenTheSameBitsInEveryBatch) {
  for (const char* name :
       {"bfloat16_0_silu_gate_first", "float32_0_silu_gate_first", "fp8_w8a8_block_0_silu_gate_first"}) {
    LayerCase wanted = testing::layer_case_named(name);
    wanted.out = testing::OutIs::its_own;  // inputs are read again
    RandomLayer layer(wanted, 3);
    MoeProblem problem = layer.problem();
    problem.batch_invariant = true;
    const auto prepared = MoeLayer::prepare(problem, {.device = "cpu", .threads = 2, .config_dir = "/nowhere"});
    ASSERT_TRUE(prepared) << prepared.error().message;
    layer.poison();
    const MoeLayerArgs all = layer.args();
    testing::LayerWorkspace workspace(prepared->workspace_bytes(all.hidden_states.rows));
    MoeLayerArgs args = all;
    args.workspace = workspace.span();
    ASSERT_TRUE((*prepared)(args));
    const std::size_t row_bytes = static_cast<std::size_t>(all.out.cols) * size_of(all.out.type);
    std::vector<std::byte> alone(row_bytes);
    for (std::int64_t token = 0; token < all.hidden_states.rows; ++token) {
      const auto row = [token](const ConstMatrixView& m) {
        return ConstMatrixView{
            static_cast<const std::byte*>(m.data) + token * m.pitch * static_cast<std::int64_t>(size_of(m.type)), 1,
            m.cols, m.pitch, m.type};
      };
      MoeLayerArgs one = args;
      one.hidden_states = row(all.hidden_states);
      one.topk_weights = row(all.topk_weights);
      if (all.shared_output.data != nullptr) one.shared_output = row(all.shared_output);
      one.out = {alone.data(), 1, all.out.cols, all.out.cols, all.out.type};
      one.topk_ids.tokens = 1;
      one.topk_ids.data = static_cast<const std::byte*>(all.topk_ids.data) +
                          token * all.topk_ids.pitch * (all.topk_ids.is_64_bits ? 8 : 4);
      ASSERT_TRUE((*prepared)(one));
      EXPECT_EQ(std::memcmp(alone.data(), row(all.out).data, row_bytes), 0) << name << ", token " << token;
    }
  }
}

}  // namespace
}  // namespace expertile
