#pragma once
// A call of the layer -> what the GPU kernels of its steps are compiled for, and take. Pure: no CUDA, no I/O.

#include "layer/layer_spec.hpp"
#include "moe/buffers.hpp"

namespace expertile {

// What lies between the products of a layer, compiled once.
struct StepSpecs {
  RowsSpec a13{};
  RowsSpec a2{};
  SumSpec sum{};

  friend bool operator==(const StepSpecs&, const StepSpecs&) = default;
};
[[nodiscard]] StepSpecs step_specs(const MoeProblem& problem) noexcept;

[[nodiscard]] RouteArgs route_args(const MoeProblem& problem, const MoeLayerArgs& args,
                                   const LayerBuffers& buffers) noexcept;
[[nodiscard]] RowsArgs a13_args(const MoeProblem& problem, const MoeLayerArgs& args,
                                const LayerBuffers& buffers) noexcept;
[[nodiscard]] RowsArgs a2_args(const MoeProblem& problem, const MoeLayerArgs& args,
                               const LayerBuffers& buffers) noexcept;
[[nodiscard]] SumArgs sum_args(const MoeProblem& problem, const MoeLayerArgs& args,
                               const LayerBuffers& buffers) noexcept;

// Blocks of a launch, where `most` can run at once.
struct StepShape {
  std::int64_t blocks = 1;
  int threads = 32;
  int shared_bytes = 0;
};
[[nodiscard]] StepShape shape_of(const RouteArgs& args) noexcept;
[[nodiscard]] StepShape shape_of(const RowsSpec& spec, const RowsArgs& args, std::int64_t most) noexcept;
[[nodiscard]] StepShape shape_of(const SumArgs& args, std::int64_t most) noexcept;

// Whether the kernels can number a call's slots, parts and experts.
[[nodiscard]] Status check_step_sizes(const MoeProblem& problem, std::int64_t tokens);

}  // namespace expertile
