#include "backend/cuda/layer_chain.hpp"

#include "jit/kernel_source.hpp"

namespace expertile::cuda {
namespace {

template <class Args>
Status launch_step(const Launcher& launcher, FunctionHandle function, const StepShape& shape, const Args& args,
                   StreamHandle stream) {
  return launcher.launch({function, shape.blocks, shape.threads, shape.shared_bytes}, &args, stream);
}

}  // namespace

Result<SharedLayerPlan> make_layer_plan(const MoeProblem& problem, KernelCache& kernels) {
  if (auto status = check_step_sizes(problem, 0); !status) return fail(status.error());
  auto made = std::make_shared<CudaLayerPlan>(problem);
  made->specs = step_specs(problem);
  constexpr int kMostShared = 48 << 10;
  constexpr int kSharedOfRows = 4 * kRowsThreads / 32;
  const auto loaded = kernels.load_steps({{jit::route_source(), kMostShared},
                                          {jit::rows_source(made->specs.a13), kSharedOfRows},
                                          {jit::rows_source(made->specs.a2), kSharedOfRows},
                                          {jit::sum_source(made->specs.sum), 0}});
  FunctionHandle* const functions[] = {&made->route, &made->a13, &made->a2, &made->sum};
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    if (!loaded[i]) return fail(loaded[i].error());
    *functions[i] = *loaded[i];
  }
  return made;
}

Status enqueue_layer(const Launcher& launcher, const CudaLayerPlan& plan, const ProductPlans& products,
                     const MoeLayerArgs& args) {
  const MoeProblem& problem = plan.problem();
  const std::int64_t tokens = args.hidden_states.rows;
  if (tokens == 0) return {};
  if (auto status = check_step_sizes(problem, tokens); !status) return status;
  const auto stream = static_cast<StreamHandle>(args.stream);
  const std::int64_t most = launcher.most_blocks();
  const LayerBuffers buffers = layer_buffers(problem, tokens, args.workspace.data());
  const RouteArgs route = route_args(problem, args, buffers);
  if (auto status = launch_step(launcher, plan.route, shape_of(route), route, stream); !status) return status;
  const RowsArgs a13 = a13_args(problem, args, buffers);
  if (auto status = launch_step(launcher, plan.a13, shape_of(plan.specs.a13, a13, most), a13, stream); !status) {
    return status;
  }
  const auto& gate_up = static_cast<const CudaCallPlan&>(*products.gate_up);
  if (auto status = launcher.enqueue(gate_up, gate_up_call(problem, args, buffers), stream); !status) return status;
  const RowsArgs a2 = a2_args(problem, args, buffers);
  if (auto status = launch_step(launcher, plan.a2, shape_of(plan.specs.a2, a2, most), a2, stream); !status) {
    return status;
  }
  const auto& down = static_cast<const CudaCallPlan&>(*products.down);
  if (auto status = launcher.enqueue(down, down_call(problem, args, buffers), stream); !status) return status;
  const SumArgs sum = sum_args(problem, args, buffers);
  return launch_step(launcher, plan.sum, shape_of(sum, most), sum, stream);
}

}  // namespace expertile::cuda
