// The layer on a real GPU. More layers: EXPERTILE_LAYERS=2000.

#include <cstdlib>

#include "backend/moe_reference.hpp"
#include "backend/on_gpu.hpp"
#include "expertile/moe_layer.hpp"
#include "plan/kernel_plan.hpp"
#include "support/placed_layer.hpp"

namespace expertile {
namespace {

using testing::OnGpu;
using testing::PlacedLayer;
using testing::RandomLayer;

class LayerOnGpu : public OnGpu {};

Result<MoeLayer> prepared_on_gpu(const MoeProblem& problem) {
  return MoeLayer::prepare(problem, {.device = "cuda", .threads = 0, .config_dir = "/nowhere"});
}

double sum_error_of(const MoeLayer& layer, std::int64_t tokens) {
  const MoeSelection selection = layer.selection(tokens);
  return std::max(sum_error(gate_up_of(layer.problem()), selection.gate_up.tile),
                  sum_error(down_of(layer.problem()), selection.down.tile));
}

void check(const testing::LayerCase& one, std::uint64_t seed) {
  const auto backend = testing::gpu();
  ASSERT_TRUE(backend);
  RandomLayer layer(one, seed);
  const auto prepared = prepared_on_gpu(layer.problem());
  ASSERT_TRUE(prepared) << prepared.error().message << "\n" << layer.describe();
  layer.poison();
  const MoeLayerArgs host = layer.args();
  const std::int64_t tokens = host.hidden_states.rows;
  const MoeReference reference = reference_moe_layer(layer.problem(), host, sum_error_of(*prepared, tokens));
  PlacedLayer placed(**backend, layer, prepared->workspace_bytes(tokens));
  const auto status = (*prepared)(placed.args());
  ASSERT_TRUE(status) << status.error().message << "\n" << layer.describe();
  const auto fetched = placed.fetch();
  ASSERT_TRUE(fetched) << fetched.error().message << "\n" << layer.describe();
  EXPECT_LE(worst_error_over_bound(layer.problem(), layer.args(), reference), 1.0) << layer.describe();
  EXPECT_EQ(layer.overwritten(), 0) << layer.describe();
}

TEST_F(LayerOnGpu, AgreesWithTheReferenceInEveryCase) {
  const auto cases = testing::all_layer_cases();
  const char* wanted = std::getenv("EXPERTILE_LAYERS");
  const std::size_t count = wanted == nullptr ? cases.size() : static_cast<std::size_t>(std::atoll(wanted));
  const char* from = std::getenv("EXPERTILE_FIRST_LAYER");
  const std::size_t first = from == nullptr ? 0 : static_cast<std::size_t>(std::atoll(from));
  for (std::size_t i = first; i < first + count; ++i) check(cases[i % cases.size()], 9000 + i);
}

TEST_F(LayerOnGpu, IsCapturedAndReplayedWithTheSameBits) {
  const auto backend = testing::gpu();
  testing::LayerCase wanted = testing::layer_case_named("bfloat16_0_silu_gate_first");
  wanted.out = testing::OutIs::its_own;  // inputs are read again
  RandomLayer layer(wanted, 5);
  const auto prepared = prepared_on_gpu(layer.problem());
  ASSERT_TRUE(prepared);
  layer.poison();
  PlacedLayer placed(**backend, layer, prepared->workspace_bytes(layer.args().hidden_states.rows));
  ASSERT_TRUE((*prepared)(placed.args()));
  ASSERT_TRUE(placed.fetch());
  const auto bytes = [&] {
    const MatrixView out = layer.args().out;
    const auto* begin = static_cast<const std::byte*>(out.data);
    return std::vector<std::byte>(begin, begin + static_cast<std::size_t>(out.rows * out.pitch) * size_of(out.type));
  };
  const auto once = bytes();
  const testing::TestStream stream;
  MoeLayerArgs args = placed.args();
  args.stream = stream.handle();
  const auto graph = stream.captured([&] { EXPECT_TRUE((*prepared)(args)); });
  for (int i = 0; i < 3; ++i) stream.replay(graph);
  stream.wait();
  stream.destroy(graph);
  ASSERT_TRUE(placed.fetch());
  EXPECT_EQ(bytes(), once);
}

TEST_F(LayerOnGpu, SkipsIdsThatAreNoExperts) {
  const auto backend = testing::gpu();
  RandomLayer layer(testing::layer_case_named("bfloat16_0_silu_gate_first"), 6);
  layer.poison();
  const auto prepared = prepared_on_gpu(layer.problem());
  ASSERT_TRUE(prepared);
  for (auto& id : layer.ids_32) id = 1 << 20;
  for (auto& id : layer.ids_64) id = std::int64_t{1} << 40;
  const MoeReference reference = reference_moe_layer(layer.problem(), layer.args());
  PlacedLayer placed(**backend, layer, prepared->workspace_bytes(layer.args().hidden_states.rows));
  ASSERT_TRUE((*prepared)(placed.args()));
  ASSERT_TRUE(placed.fetch());
  EXPECT_LE(worst_error_over_bound(layer.problem(), layer.args(), reference), 1.0);
}

}  // namespace
}  // namespace expertile
