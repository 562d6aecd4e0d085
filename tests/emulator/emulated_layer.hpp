#pragma once
// A layer's chain in the emulator: the steps' own device text on the host, and products by whoever the test names.

#include <functional>

#include "expertile/moe_layer.hpp"
#include "moe/step_args.hpp"

namespace expertile::testing {

// A product of the layer on its buffers.
using LayerProduct = std::function<Status(const Problem& problem, const GroupedGemmArgs& call)>;

// What a test may break before each step: its arguments.
struct StepFaults {
  std::function<void(RowsSpec&)> in_a2_spec{};
  std::function<void(RowsArgs&)> in_a2{};
  std::function<void(SumArgs&)> in_sum{};
  std::function<void(const LayerBuffers&)> before_sum{};
};

// args have a workspace. The status of the first step that the emulator stops.
[[nodiscard]] Status run_emulated_layer(const MoeProblem& problem, const MoeLayerArgs& args,
                                        const LayerProduct& gate_up, const LayerProduct& down,
                                        const StepFaults& faults = {});

// The first step alone, by so many blocks.
[[nodiscard]] Status emulate_route(const MoeLayerArgs& args, const RouteArgs& in, int blocks);

}  // namespace expertile::testing
