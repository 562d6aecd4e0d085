// Faults that a layer may have, planted in random layers of every dtype: each one's out is beyond the bound. A fault is
// made by computing the reference of a call that has it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "backend/moe_reference.hpp"
#include "problem/sizes.hpp"
#include "support/random_layer.hpp"
#include "support/random_problem.hpp"

namespace expertile::testing {
namespace {

using ::testing::SizeIs;

struct Slot {
  std::int64_t token = 0;
  std::int64_t index = 0;
};

// A random layer's call with what faults change as its own.
struct Call {
  explicit Call(RandomLayer& layer) : problem(layer.problem()), args(layer.args()) {
    for (std::int64_t token = 0; token < args.topk_ids.tokens; ++token) {
      for (std::int64_t index = 0; index < problem.top_k; ++index) {
        const auto at = static_cast<std::size_t>(token * args.topk_ids.pitch + index);
        ids.push_back(args.topk_ids.is_64_bits ? layer.ids_64[at] : layer.ids_32[at]);
        weights.push_back(
            load_element(args.topk_weights.type, args.topk_weights.data, token * args.topk_weights.pitch + index));
      }
    }
    args.topk_ids = expertile::ids(ids.data(), args.topk_ids.tokens, problem.top_k);
    args.topk_weights = view(weights.data(), args.topk_ids.tokens, problem.top_k);
    const auto* first = static_cast<const std::byte*>(args.hidden_states.data);
    const ConstMatrixView& rows = args.hidden_states;
    hidden_states.assign(
        first, first + ((rows.rows - 1) * rows.pitch + rows.cols) * static_cast<std::int64_t>(size_of(rows.type)));
    args.hidden_states.data = hidden_states.data();
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  std::int64_t& id(Slot slot) { return ids[static_cast<std::size_t>(slot.token * problem.top_k + slot.index)]; }
  float& weight(Slot slot) { return weights[static_cast<std::size_t>(slot.token * problem.top_k + slot.index)]; }
  bool has_expert(Slot slot) {
    if (id(slot) < 0 || args.expert_map.empty()) return id(slot) >= 0;
    return args.expert_map[static_cast<std::size_t>(id(slot))] >= 0;
  }
  // The first one, token by token; none: no slot is so.
  std::optional<Slot> find_slot(const std::function<bool(Slot)>& is_wanted) const {
    for (std::int64_t token = 0; token < args.topk_ids.tokens; ++token) {
      for (std::int64_t index = 0; index < problem.top_k; ++index) {
        if (is_wanted({token, index})) return Slot{token, index};
      }
    }
    return {};
  }
  // Row `to` becomes twice row `from`, exactly.
  void double_row(std::int64_t from, std::int64_t to) {
    const ConstMatrixView& rows = args.hidden_states;
    for (std::int64_t k = 0; k < rows.cols; ++k) {
      store_element(rows.type, 2 * load_element(rows.type, rows.data, from * rows.pitch + k), hidden_states.data(),
                    to * rows.pitch + k);
    }
  }

  MoeProblem problem;
  MoeLayerArgs args;
  std::vector<std::int64_t> ids;  // [T, top_k]
  std::vector<float> weights;     // [T, top_k]
  std::vector<std::byte> hidden_states;
};

void store_out(const MoeLayerArgs& args, const MoeReference& reference) {
  for (std::int64_t row = 0; row < args.out.rows; ++row) {
    for (std::int64_t n = 0; n < args.out.cols; ++n) {
      const double value = reference.value[static_cast<std::size_t>(row * args.out.cols + n)];
      store_element(args.out.type, static_cast<float>(value), args.out.data, row * args.out.pitch + n);
    }
  }
}

// A fault changes nothing in some layers: a limit that no gate reaches, an expert whose relu2 is 0 everywhere.
bool differ(const MoeReference& a, const MoeReference& b) {
  double largest = 0;
  double change = 0;
  for (std::size_t i = 0; i < a.value.size(); ++i) {
    largest = std::max(largest, std::fabs(a.value[i]));
    change = std::max(change, std::fabs(a.value[i] - b.value[i]));
  }
  return change > largest / 32;
}

// Plants a fault in a call that is equal to the right one, which may be prepared for it; false: this layer has no place
// for it.
using Fault = std::function<bool(Call& right, Call& wrong)>;

std::string dtype_of(const LayerCase& layer, const std::vector<Combination>& combinations) {
  for (const Combination& one : combinations) {
    if (one.dtype == layer.dtype && one.scales == layer.scales && one.tf32 == layer.tf32 &&
        layer.name.starts_with(one.name + "_")) {
      return one.name;
    }
  }
  return "";
}

// In up to five layers of each dtype and scales, the keys of what is returned. Each must be found.
std::map<std::string, int> plant(const Fault& fault) {
  constexpr int kLayersOfEach = 5;
  std::map<std::string, int> planted;
  const std::vector<Combination> combinations = all_combinations();
  std::uint64_t seed = 0;
  for (const LayerCase& one : all_layer_cases()) {
    ++seed;
    const std::string dtype = dtype_of(one, combinations);
    if (planted.contains(dtype) && planted[dtype] == kLayersOfEach) continue;
    RandomLayer layer(one, seed);
    Call right(layer);
    Call wrong(layer);
    if (!fault(right, wrong)) continue;
    const MoeReference reference = reference_moe_layer(right.problem, right.args);
    const MoeReference faulty = reference_moe_layer(wrong.problem, wrong.args);
    if (!differ(reference, faulty)) continue;
    ++planted[dtype];
    store_out(right.args, faulty);
    EXPECT_GT(worst_error_over_bound(right.problem, right.args, reference), 1) << layer.describe();
  }
  return planted;
}

void expect_found_in_all_dtypes(const Fault& fault) { EXPECT_THAT(plant(fault), SizeIs(all_combinations().size())); }

TEST(MoeReferenceFaults, NoneIsFoundInTheReferencesOwnRoundedValues) {
  std::uint64_t seed = 0;
  for (const LayerCase& one : all_layer_cases()) {
    RandomLayer layer(one, ++seed);
    const MoeReference reference = reference_moe_layer(layer.problem(), layer.args());
    store_out(layer.args(), reference);
    EXPECT_LE(worst_error_over_bound(layer.problem(), layer.args(), reference), 1) << layer.describe();
    EXPECT_EQ(layer.overwritten(), 0) << layer.describe();
  }
}

TEST(MoeReferenceFaults, GateAndUpExchangedAreFound) {
  expect_found_in_all_dtypes([](Call&, Call& wrong) {
    const bool gate_is_first = wrong.problem.gate_order == GateOrder::gate_first;
    wrong.problem.gate_order = gate_is_first ? GateOrder::up_first : GateOrder::gate_first;
    return has_gate(wrong.problem.activation);
  });
}

TEST(MoeReferenceFaults, ARowsRouterWeightOfAnotherSlotIsFound) {
  expect_found_in_all_dtypes([](Call&, Call& wrong) {
    const auto slot = wrong.find_slot([&](Slot one) { return one.index > 0 && wrong.has_expert(one); });
    if (slot) wrong.weight(*slot) = wrong.weight({slot->token, 0});
    return slot.has_value();
  });
}

TEST(MoeReferenceFaults, ARowsRouterWeightOfAnotherTokenIsFound) {
  expect_found_in_all_dtypes([](Call&, Call& wrong) {
    const auto slot = wrong.find_slot([&](Slot one) { return one.token > 0 && wrong.has_expert(one); });
    if (slot) wrong.weight(*slot) = wrong.weight({0, slot->index});
    return slot.has_value();
  });
}

TEST(MoeReferenceFaults, AScaleOfAnotherTokenIsFoundWhereRowsHaveScales) {
  // A token that is twice another one has the same quotients by twice the scale.
  const auto planted = plant([](Call& right, Call& wrong) {
    const Problem product = gate_up_of(right.problem);
    const bool rows_have_scales = product.dtype == DType::fp8_w8a8 || product.dtype == DType::int8_w8a8;
    if (!rows_have_scales || product.scales == Scales::per_tensor) return false;
    const auto slot = right.find_slot([&](Slot one) { return one.token > 0 && right.has_expert(one); });
    if (!slot) return false;
    right.double_row(slot->token, 0);
    wrong.double_row(slot->token, 0);
    wrong.double_row(slot->token, slot->token);
    return true;
  });
  EXPECT_THAT(planted, SizeIs(7));
}

TEST(MoeReferenceFaults, ATokenSummedTwiceIsFound) {
  expect_found_in_all_dtypes([](Call&, Call& wrong) {
    const auto slot = wrong.find_slot([&](Slot one) {
      return one.index > 0 && !wrong.has_expert(one) && wrong.has_expert({one.token, one.index - 1});
    });
    if (!slot) return false;
    wrong.id(*slot) = wrong.id({slot->token, slot->index - 1});
    wrong.weight(*slot) = wrong.weight({slot->token, slot->index - 1});
    return true;
  });
}

TEST(MoeReferenceFaults, AnIdOfNoExpertComputedIsFound) {
  expect_found_in_all_dtypes([](Call&, Call& wrong) {
    const auto slot = wrong.find_slot([&](Slot one) { return wrong.id(one) == -1; });
    if (!slot) return false;
    do {
      ++wrong.id(*slot);
    } while (!wrong.has_expert(*slot));
    return true;
  });
}

TEST(MoeReferenceFaults, AForeignExpertComputedIsFound) {
  std::vector<std::int32_t> first;
  expect_found_in_all_dtypes([&](Call&, Call& wrong) {
    first.assign(wrong.args.expert_map.size(), 0);
    for (std::size_t i = 0; i < first.size(); ++i) first[i] = std::max(wrong.args.expert_map[i], 0);
    wrong.args.expert_map = first;
    return !first.empty();
  });
}

TEST(MoeReferenceFaults, ADroppedBiasIsFoundBehindEitherProduct) {
  expect_found_in_all_dtypes([](Call& right, Call& wrong) {
    wrong.args.bias_13 = {};
    return right.args.bias_13.data != nullptr;
  });
  expect_found_in_all_dtypes([](Call& right, Call& wrong) {
    wrong.args.bias_2 = {};
    return right.args.bias_2.data != nullptr;
  });
}

TEST(MoeReferenceFaults, ADroppedLimitIsFound) {
  expect_found_in_all_dtypes([](Call& right, Call& wrong) {
    wrong.problem.limit = 1000.0F;
    return right.problem.limit.has_value();
  });
}

TEST(MoeReferenceFaults, AMissingSharedOutputIsFound) {
  expect_found_in_all_dtypes([](Call& right, Call& wrong) {
    wrong.args.shared_output = {};
    return right.args.shared_output.data != nullptr;
  });
}

TEST(MoeReferenceFaults, ARouterWeightOnTheWrongSideIsFound) {
  expect_found_in_all_dtypes([](Call&, Call& wrong) {
    const bool is_on_output = wrong.problem.router_weight == RouterWeight::output;
    wrong.problem.router_weight = is_on_output ? RouterWeight::input : RouterWeight::output;
    return true;
  });
}

}  // namespace
}  // namespace expertile::testing
