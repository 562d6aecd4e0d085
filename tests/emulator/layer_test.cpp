// The layer's chain in the emulator: every step's device text, between products of a CPU and of both kernel families.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include "backend/moe_reference.hpp"
#include "emulator/emulated_layer.hpp"
#include "emulator/run_emulated.hpp"
#include "plan/kernel_plan.hpp"
#include "support/layer_workspace.hpp"
#include "support/random_layer.hpp"

namespace expertile {
namespace {

using testing::LayerCase;
using testing::LayerProduct;
using testing::RandomLayer;
using testing::StepFaults;

// ---- products -------------------------------------------------------------------------------------------------------

Status multiply_on_a_cpu(const Problem& problem, const GroupedGemmArgs& call) {
  const auto gemm =
      GroupedGemm::prepare(problem, {.device = "cpu", .threads = 1, .config_dir = "/nowhere", .c_type = call.c.type});
  return gemm ? (*gemm)(call) : fail(gemm.error());
}

struct Found {
  LayerProduct product;
  double sum_error = 0;
};
// By the index-th of the family's emulated kernels that can multiply the layer's rows; none: there is none.
std::optional<Found> emulated_product(const Problem& problem, ElementType a, ElementType c, KernelFamily family,
                                      std::size_t index) {
  std::vector<testing::EmulatedKernel> fitting;
  for (const testing::EmulatedKernel& kernel : testing::all_emulated_kernels()) {
    if (kernel.spec.tile.kernel != family) continue;
    if (make_spec(problem, kernel.spec.tile, {a, c}, kernel.spec.wide_loads) == kernel.spec) fitting.push_back(kernel);
  }
  if (fitting.empty()) return std::nullopt;
  const testing::EmulatedKernel kernel = fitting[index % fitting.size()];
  return Found{[kernel](const Problem& product, const GroupedGemmArgs& call) {
                 return testing::multiply_emulated(kernel, product, call);
               },
               sum_error(problem, kernel.spec.tile)};
}

double worst_error(RandomLayer& layer, const LayerProduct& gate_up, const LayerProduct& down, double error_of_sums = 0,
                   const StepFaults& faults = {}) {
  layer.poison();
  MoeLayerArgs args = layer.args();
  const MoeReference reference = reference_moe_layer(layer.problem(), args, error_of_sums);
  testing::LayerWorkspace workspace(layer_buffers(layer.problem(), args.hidden_states.rows, nullptr).bytes);
  args.workspace = workspace.span();
  const auto status = testing::run_emulated_layer(layer.problem(), args, gate_up, down, faults);
  EXPECT_TRUE(status) << (status ? "" : status.error().message) << "\n" << layer.describe();
  EXPECT_EQ(layer.overwritten(), 0) << layer.describe();
  EXPECT_TRUE(workspace.is_intact()) << layer.describe();
  return status ? worst_error_over_bound(layer.problem(), args, reference) : std::numeric_limits<double>::infinity();
}

// In the emulator nothing that a launch writes is read by it: out is a tensor of its own.
LayerCase with_own_out(LayerCase layer) {
  layer.out = testing::OutIs::its_own;
  return layer;
}

// ---- right ----------------------------------------------------------------------------------------------------------

class EmulatedLayer : public ::testing::TestWithParam<LayerCase> {};

TEST_P(EmulatedLayer, AgreesWithTheReferenceInEveryStep) {
  RandomLayer layer(with_own_out(GetParam()), 31);
  EXPECT_LE(worst_error(layer, multiply_on_a_cpu, multiply_on_a_cpu), 1.0) << layer.describe();
}

INSTANTIATE_TEST_SUITE_P(Every, EmulatedLayer, ::testing::ValuesIn(testing::all_layer_cases()),
                         [](const auto& one) { return one.param.name; });

struct FamilyLayer {
  RandomLayer layer;
  Found gate_up;
  Found down;
};
// With blocks of scales that some of the family's kernels have.
std::optional<FamilyLayer> family_layer(LayerCase wanted, KernelFamily family, std::size_t turn) {
  constexpr BlockShape kBlocks[] = {{64, 32},  {32, 96},  {7, 13},    {128, 128},
                                    {96, 128}, {64, 128}, {256, 128}, {192, 128}};
  wanted.is_aligned = true;
  for (const BlockShape block : kBlocks) {
    if (wanted.scales == Scales::block) wanted.block_shape = block;
    RandomLayer layer(wanted, 77 + turn);
    const MoeProblem& problem = layer.problem();
    const ElementType a = multiplied_type(problem);
    const auto gate_up = emulated_product(gate_up_of(problem), a, hidden_type_of(problem), family, turn);
    const auto down = emulated_product(down_of(problem), a, hidden_type_of(problem), family, turn + 1);
    if (gate_up && down) return FamilyLayer{std::move(layer), *gate_up, *down};
  }
  return std::nullopt;
}

// Two layers of every dtype and scales, with the types that the family's emulated kernels have.
void check_family(KernelFamily family) {
  std::map<std::pair<DType, Scales>, int> checked;
  std::size_t turn = 0;
  for (const LayerCase& one : testing::all_layer_cases()) {
    int& count = checked[{one.dtype, one.scales}];
    if (count >= 2) continue;
    auto found = family_layer(with_own_out(one), family, turn);
    if (!found) continue;
    ++turn;
    ++count;
    const double error = std::max(found->gate_up.sum_error, found->down.sum_error);
    EXPECT_LE(worst_error(found->layer, found->gate_up.product, found->down.product, error), 1.0)
        << found->layer.describe();
  }
  for (const auto& [key, count] : checked) {
    EXPECT_GT(count, 0) << name(key.first) << " with scales " << name(key.second) << ": no emulated kernel fits";
  }
}
TEST(EmulatedLayerOfThePortableFamily, AgreesWithTheReferenceInEveryDtype) { check_family(KernelFamily::sm80); }
TEST(EmulatedLayerOfHopper, AgreesWithTheReferenceInEveryDtype) { check_family(KernelFamily::sm90); }

// ---- the sort of slots ----------------------------------------------------------------------------------------------

struct Routed {
  std::vector<std::int64_t> ids;
  std::vector<std::int32_t> map;
  std::vector<long long> seg_indptr, weight_indices;
  std::vector<std::int32_t> slot_row, row_slot, row_expert;
};

// By blocks of so many warps; ids from -2 to a few beyond the last.
void check_route(int tokens, int top_k, int experts, int warps, int blocks, bool maps, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  const int all = maps ? 2 * experts + 1 : experts;
  Routed got;
  for (int i = 0; i < tokens * top_k; ++i) {
    got.ids.push_back(std::uniform_int_distribution<std::int64_t>(-2, all + 1)(generator));
  }
  for (int i = 0; i < all && maps; ++i) got.map.push_back(i % 2 == 0 ? -1 : experts - 1 - i / 2);
  const auto slots = static_cast<std::size_t>(tokens * top_k);
  got.seg_indptr.assign(static_cast<std::size_t>(experts) + 1, -7);
  got.weight_indices.assign(static_cast<std::size_t>(experts), -7);
  got.slot_row.assign(slots, -7);
  got.row_slot.assign(slots, -7);
  got.row_expert.assign(slots, -7);
  const RouteArgs in{.ids = got.ids.data(),
                     .ids_pitch = top_k,
                     .ids_are_long = 1,
                     .expert_map = maps ? got.map.data() : nullptr,
                     .mapped = static_cast<int>(got.map.size()),
                     .tokens = tokens,
                     .top_k = top_k,
                     .experts = experts,
                     .warps = warps,
                     .seg_indptr = got.seg_indptr.data(),
                     .weight_indices = got.weight_indices.data(),
                     .slot_row = got.slot_row.data(),
                     .row_slot = got.row_slot.data(),
                     .row_expert = got.row_expert.data()};
  MoeLayerArgs args;
  args.topk_ids = ids(got.ids.data(), tokens, top_k);
  args.expert_map = got.map;
  const auto status = testing::emulate_route(args, in, blocks);
  ASSERT_TRUE(status) << status.error().message;
  long long row = 0;
  for (int expert = 0; expert < experts; ++expert) {
    EXPECT_EQ(got.seg_indptr[static_cast<std::size_t>(expert)], row);
    EXPECT_EQ(got.weight_indices[static_cast<std::size_t>(expert)], expert);
    for (std::size_t slot = 0; slot < slots; ++slot) {
      const std::int64_t id = got.ids[slot];
      const bool is_known = id >= 0 && id < all;
      if (!is_known || (maps ? got.map[static_cast<std::size_t>(id)] : id) != expert) continue;
      EXPECT_EQ(got.slot_row[slot], row);
      EXPECT_EQ(got.row_slot[static_cast<std::size_t>(row)], static_cast<std::int32_t>(slot));
      EXPECT_EQ(got.row_expert[static_cast<std::size_t>(row)], expert);
      ++row;
    }
  }
  EXPECT_EQ(got.seg_indptr.back(), row);
  EXPECT_EQ(std::count(got.slot_row.begin(), got.slot_row.end(), -1), static_cast<std::ptrdiff_t>(slots) - row);
  const bool is_rest_untouched =
      std::all_of(got.row_slot.begin() + row, got.row_slot.end(), [](int v) { return v == -7; });
  EXPECT_TRUE(is_rest_untouched);
}

TEST(EmulatedRoute, SortsStablyByExpertWithWhateverBlocksAndWarps) {
  check_route(1, 1, 1, 1, 1, false, 1);
  check_route(7, 3, 5, 1, 1, false, 2);
  check_route(40, 8, 128, 4, 1, false, 3);
  check_route(67, 4, 33, 2, 3, false, 4);
  check_route(90, 2, 40, 3, 2, true, 5);
  check_route(5, 2, 300, 2, 1, true, 6);  // more experts than threads
  check_route(300, 1, 8, 1, 4, false, 7);
  check_route(64, 8, 512, 16, 1, false, 8);
}

// ---- planted faults -------------------------------------------------------------------------------------------------

// A layer in which every fault shows: two slots a token, weights that differ, a bias and a limit.
LayerCase telling_case(DType dtype, Scales scales) {
  LayerCase layer{.name = "telling", .dtype = dtype, .scales = scales};
  layer.hidden = ElementType::bfloat16;
  layer.activation = Activation::swiglu_oai;
  layer.limit = 0.75F;
  layer.bias = ElementType::float32;
  layer.is_aligned = true;
  if (scales == Scales::block) layer.block_shape = BlockShape{64, 32};
  return layer;
}

// A seed with several tokens, several experts and two slots at least.
RandomLayer telling_layer(const LayerCase& wanted) {
  for (std::uint64_t seed = 1;; ++seed) {
    RandomLayer layer(wanted, seed);
    const MoeProblem& problem = layer.problem();
    const bool tells = problem.experts >= 5 && problem.top_k >= 2 && problem.intermediate_size >= 32 &&
                       problem.hidden_size >= 32 && layer.args().hidden_states.rows >= 17;
    if (tells) return layer;
  }
}

double with_fault(const StepFaults& faults, DType dtype = DType::bfloat16, Scales scales = Scales::none) {
  RandomLayer layer = telling_layer(telling_case(dtype, scales));
  return worst_error(layer, multiply_on_a_cpu, multiply_on_a_cpu, 0, faults);
}

TEST(EmulatedLayerFault, NoneIsWithinTheBound) {
  EXPECT_LE(with_fault({}), 1.0);
  EXPECT_LE(with_fault({}, DType::fp8_w8a8, Scales::block), 1.0);
}
TEST(EmulatedLayerFault, GateAndUpExchangedAreFound) {
  EXPECT_GT(with_fault({.in_a2_spec = [](RowsSpec& spec) { spec.order = GateOrder::up_first; }}), 1.0);
}
TEST(EmulatedLayerFault, TheWeightsOfAnotherTokenAreFound) {
  EXPECT_GT(with_fault({.in_sum = [](SumArgs& in) { in.weights_pitch = 0; }}), 1.0);
}
TEST(EmulatedLayerFault, TheWeightOfAnotherSlotIsFound) {
  const auto exchange = [](const LayerBuffers& buffers) { std::swap(buffers.slot_row[0], buffers.slot_row[1]); };
  EXPECT_GT(with_fault({.before_sum = exchange}), 1.0);
}
TEST(EmulatedLayerFault, ADroppedBiasIsFound) {
  EXPECT_GT(with_fault({.in_a2 = [](RowsArgs& in) { in.bias = nullptr; }}), 1.0);
  EXPECT_GT(with_fault({.in_sum = [](SumArgs& in) { in.bias = nullptr; }}), 1.0);
}
TEST(EmulatedLayerFault, ADroppedLimitIsFound) {
  EXPECT_GT(with_fault({.in_a2 = [](RowsArgs& in) { in.limit = std::numeric_limits<float>::infinity(); }}), 1.0);
}
TEST(EmulatedLayerFault, AScaleOfAnotherTokenIsFound) {
  const auto shift = [](RowsArgs& in) { in.scales += ceil_div(in.columns, in.block_k); };
  RandomLayer layer = telling_layer(telling_case(DType::fp8_w8a8, Scales::block));
  layer.poison();
  MoeLayerArgs args = layer.args();
  const MoeReference reference = reference_moe_layer(layer.problem(), args);
  // The last row's scales would lie outside their region: the emulator stops there, or the result is wrong.
  testing::LayerWorkspace workspace(layer_buffers(layer.problem(), args.hidden_states.rows, nullptr).bytes);
  args.workspace = workspace.span();
  const auto status =
      testing::run_emulated_layer(layer.problem(), args, multiply_on_a_cpu, multiply_on_a_cpu, {.in_a2 = shift});
  EXPECT_TRUE(!status || worst_error_over_bound(layer.problem(), args, reference) > 1.0);
}
TEST(EmulatedLayerFault, ATokenThatIsSummedTwiceIsFound) {
  const auto repeat = [](const LayerBuffers& buffers) {
    buffers.slot_row[0] = buffers.slot_row[1] = std::max(buffers.slot_row[0], buffers.slot_row[1]);
  };
  EXPECT_GT(with_fault({.before_sum = repeat}), 1.0);
}
TEST(EmulatedLayerFault, ASlotOfNoExpertThatIsComputedIsFound) {
  const auto compute = [](const LayerBuffers& buffers) {
    std::int64_t changed = 0;
    for (std::int64_t slot = 0; slot < buffers.a13.rows; ++slot) {
      if (buffers.slot_row[slot] >= 0) continue;
      buffers.slot_row[slot] = 0;
      ++changed;
    }
    EXPECT_GT(changed, 0);
  };
  EXPECT_GT(with_fault({.before_sum = compute}), 1.0);
}

}  // namespace
}  // namespace expertile
