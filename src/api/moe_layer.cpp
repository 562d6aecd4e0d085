// Two prepared products, what lies between them, and the tiles that each call takes.

#include "expertile/moe_layer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "api/grouped_gemm_state.hpp"
#include "api/moe_validate.hpp"
#include "moe/buffers.hpp"

namespace expertile {

namespace {

// The order of a row's sums is the tile's, and nothing else of a call has part in it. So one tile for all batch sizes
// makes a token's bits the same in every batch: the one of so many tokens, between what few and what many ask for.
constexpr std::int64_t kInvariantTokens = 128;

std::int64_t rows_to_choose_by(const MoeProblem& problem, std::int64_t rows) {
  return problem.batch_invariant ? kInvariantTokens * problem.top_k : rows;
}

}  // namespace

struct MoeLayer::State {
  MoeProblem problem;
  GroupedGemm gate_up;
  GroupedGemm down;
  SharedLayerPlan steps;
};

MoeLayer::MoeLayer(std::shared_ptr<const State> state) : state_(std::move(state)) {}

Result<MoeLayer> MoeLayer::prepare(const MoeProblem& problem, const MoePrepareOptions& options) {
  if (auto status = validate(problem); !status) return fail(status.error());
  const PrepareOptions of_products{.device = options.device,
                                   .threads = options.threads,
                                   .config_dir = options.config_dir,
                                   .c_type = hidden_type_of(problem)};
  auto gate_up = GroupedGemm::prepare(gate_up_of(problem), of_products);
  if (!gate_up) return fail(gate_up.error());
  auto down = GroupedGemm::prepare(down_of(problem), of_products);
  if (!down) return fail(down.error());
  auto steps = gate_up->state_->backend->plan_layer(problem);
  if (!steps) return fail(steps.error());
  return MoeLayer(
      std::make_shared<const State>(State{problem, std::move(*gate_up), std::move(*down), std::move(*steps)}));
}

MoeSelection MoeLayer::selection(std::int64_t tokens) const {
  const std::int64_t all = std::max<std::int64_t>(tokens, 0) * state_->problem.top_k;
  const std::int64_t rows = rows_to_choose_by(state_->problem, all);
  return {state_->gate_up.selection(rows), state_->down.selection(rows)};
}

Status MoeLayer::operator()(const MoeLayerArgs& args) const {
  const MoeProblem& problem = state_->problem;
  const Backend& backend = *state_->gate_up.state_->backend;
  if (auto status = check_layer_call(problem, args); !status) return status;
  if (auto status = backend.info().is_gpu() ? backend.check_pointers(args) : check_layer_routing(problem, args);
      !status) {
    return status;
  }
  const std::int64_t rows = rows_to_choose_by(problem, expected_rows(problem, args));
  const auto gate_up = state_->gate_up.state_->plan_for(rows);
  if (!gate_up) return fail(gate_up.error());
  const auto down = state_->down.state_->plan_for(rows);
  if (!down) return fail(down.error());
  try {
    return backend.run_layer(*state_->steps, {*gate_up, *down}, args);
  } catch (const std::exception& error) {
    return fail(ErrorCode::internal, fmt::format("the layer failed: {}", error.what()));
  }
}

std::size_t MoeLayer::workspace_bytes(std::int64_t tokens) const noexcept {
  return layer_buffers(state_->problem, std::max<std::int64_t>(tokens, 0), nullptr).bytes;
}

const MoeProblem& MoeLayer::problem() const noexcept { return state_->problem; }

}  // namespace expertile
