#include "expertile/moe_layer.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
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

}  // namespace
}  // namespace expertile
