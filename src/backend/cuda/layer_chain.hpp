#pragma once
// A layer on a GPU: its six launches, one behind the other.

#include <vector>

#include "backend/backend.hpp"
#include "backend/cuda/call_plan.hpp"
#include "moe/step_args.hpp"

namespace expertile::cuda {

class CudaLayerPlan final : public LayerPlan {
 public:
  using LayerPlan::LayerPlan;
  StepSpecs specs{};
  FunctionHandle route = nullptr;
  FunctionHandle a13 = nullptr;
  FunctionHandle a2 = nullptr;
  FunctionHandle sum = nullptr;
};

// Loads the kernels of the steps.
[[nodiscard]] Result<SharedLayerPlan> make_layer_plan(const MoeProblem& problem, KernelCache& kernels);

// products: plans of this device. Its context must be current.
[[nodiscard]] Status enqueue_layer(const Launcher& launcher, const CudaLayerPlan& plan, const ProductPlans& products,
                                   const MoeLayerArgs& args);

}  // namespace expertile::cuda
