#pragma once
// The two halves of validate(problem, args) of a layer, as api/validate.hpp has them of a product.

#include "expertile/moe_layer.hpp"

namespace expertile {

// Pointers, shapes, types, pitches, scales and workspace.
[[nodiscard]] Status check_layer_call(const MoeProblem& problem, const MoeLayerArgs& args);
// The values of topk_ids and expert_map, which lie in the host's memory.
[[nodiscard]] Status check_layer_routing(const MoeProblem& problem, const MoeLayerArgs& args);

}  // namespace expertile
