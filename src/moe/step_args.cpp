#include "moe/step_args.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "kernel_shape.hpp"
#include "plan/kernel_plan.hpp"

namespace expertile {
namespace {

// Every GPU's blocks have so much shared memory, whatever they ask for.
constexpr int kUsualSharedBytes = 48 << 10;

Storage storage(ElementType type) { return storage_of(type).value(); }

RowsArgs rows_args(const MoeProblem& problem, const MoeLayerArgs& args, const LayerBuffers& buffers,
                   const Problem& product) {
  RowsArgs in;
  in.seg_indptr = reinterpret_cast<const long long*>(buffers.seg_indptr);
  in.slot_row = buffers.slot_row;
  in.row_slot = buffers.row_slot;
  in.row_expert = buffers.row_expert;
  in.tokens = static_cast<int>(args.hidden_states.rows);
  in.top_k = static_cast<int>(problem.top_k);
  in.experts = static_cast<int>(problem.experts);
  in.columns = static_cast<int>(product.k);
  in.block_k = product.block_shape ? static_cast<int>(std::min(product.block_shape->k, product.k)) : 0;
  in.alpha = problem.alpha;
  in.limit = limit_of(problem).value_or(std::numeric_limits<float>::infinity());
  return in;
}

}  // namespace

StepSpecs step_specs(const MoeProblem& problem) noexcept {
  const Problem gate_up = gate_up_of(problem);
  const ElementType hidden = hidden_type_of(problem);
  const ElementType multiplied = multiplied_type(problem);
  StepSpecs specs;
  specs.a13.from = storage(hidden);
  specs.a13.out = storage(multiplied);
  specs.a13.scaling = multiplied == hidden ? Scaling::none : scaling_of(scales_of(gate_up));
  const bool is_by_slot = weighs_inputs(problem) || specs.a13.scaling == Scaling::per_tensor;
  specs.a13.of = is_by_slot ? RowsOf::slots : RowsOf::tokens;
  specs.a2 = specs.a13;
  specs.a2.of = RowsOf::gate_up;
  specs.a2.activation = problem.activation;
  if (has_gate(problem.activation)) specs.a2.order = problem.gate_order;  // else one text serves them all
  specs.sum = {storage(hidden), static_cast<int>(problem.top_k)};
  return specs;
}

RouteArgs route_args(const MoeProblem& problem, const MoeLayerArgs& args, const LayerBuffers& buffers) noexcept {
  RouteArgs in;
  in.ids = args.topk_ids.data;
  in.ids_pitch = args.topk_ids.pitch;
  in.ids_are_long = args.topk_ids.is_64_bits ? 1 : 0;
  in.expert_map = args.expert_map.data();
  in.mapped = static_cast<int>(args.expert_map.size());
  in.tokens = static_cast<int>(args.hidden_states.rows);
  in.top_k = static_cast<int>(problem.top_k);
  in.experts = static_cast<int>(problem.experts);
  const int slots = in.tokens * in.top_k;
  const int most = std::max(1, std::min(kMostRouteWarps, kUsualSharedBytes / (4 * in.experts) - 3));
  in.warps = std::clamp(ceil_divide(std::max(slots, in.experts), 32), 1, most);
  in.seg_indptr = reinterpret_cast<long long*>(buffers.seg_indptr);
  in.weight_indices = reinterpret_cast<long long*>(buffers.weight_indices);
  in.slot_row = buffers.slot_row;
  in.row_slot = buffers.row_slot;
  in.row_expert = buffers.row_expert;
  return in;
}

RowsArgs a13_args(const MoeProblem& problem, const MoeLayerArgs& args, const LayerBuffers& buffers) noexcept {
  RowsArgs in = rows_args(problem, args, buffers, gate_up_of(problem));
  in.from = args.hidden_states.data;
  in.from_pitch = args.hidden_states.pitch;
  if (weighs_inputs(problem)) in.weights = static_cast<const float*>(args.topk_weights.data);
  in.weights_pitch = args.topk_weights.pitch;
  in.expert_scales = args.input_scale_13.data();
  in.out = buffers.a13.data;
  in.out_pitch = buffers.a13.pitch;
  in.scales = buffers.scales_13.data();
  return in;
}

RowsArgs a2_args(const MoeProblem& problem, const MoeLayerArgs& args, const LayerBuffers& buffers) noexcept {
  RowsArgs in = rows_args(problem, args, buffers, down_of(problem));
  in.from = buffers.c13.data;
  in.from_pitch = buffers.c13.pitch;
  in.bias = args.bias_13.data;
  in.bias_pitch = args.bias_13.pitch;
  if (in.bias != nullptr) in.bias_type = storage(args.bias_13.type);
  in.expert_scales = args.input_scale_2.data();
  in.out = buffers.a2.data;
  in.out_pitch = buffers.a2.pitch;
  in.scales = buffers.scales_2.data();
  return in;
}

SumArgs sum_args(const MoeProblem& problem, const MoeLayerArgs& args, const LayerBuffers& buffers) noexcept {
  SumArgs in;
  in.rows = buffers.c2.data;
  in.rows_pitch = buffers.c2.pitch;
  in.bias = args.bias_2.data;
  in.bias_pitch = args.bias_2.pitch;
  if (in.bias != nullptr) in.bias_type = storage(args.bias_2.type);
  if (!weighs_inputs(problem)) in.weights = static_cast<const float*>(args.topk_weights.data);
  in.weights_pitch = args.topk_weights.pitch;
  in.slot_row = buffers.slot_row;
  in.row_expert = buffers.row_expert;
  in.shared = args.shared_output.data;
  in.shared_pitch = args.shared_output.pitch;
  in.out = args.out.data;
  in.out_pitch = args.out.pitch;
  in.tokens = static_cast<int>(args.out.rows);
  in.columns = static_cast<int>(problem.hidden_size);
  return in;
}

StepShape shape_of(const RouteArgs& args) noexcept {
  const int slots = args.tokens * args.top_k;
  const int blocks = slots < 2 * kSlotsOfABlock ? 1 : std::min(kMostRouteBlocks, ceil_divide(slots, kSlotsOfABlock));
  return {blocks, 32 * args.warps, route_shared_bytes(args.experts, args.warps)};
}

StepShape shape_of(const RowsSpec& spec, const RowsArgs& args, std::int64_t most) noexcept {
  const std::int64_t rows = spec.of == RowsOf::tokens ? args.tokens : std::int64_t{args.tokens} * args.top_k;
  const std::int64_t items = rows * ceil_divide(args.columns, part_columns(spec, args));
  const int sharers = kRowsThreads / lanes_of(spec);
  return {std::clamp<std::int64_t>(ceil_div(items, sharers), 1, most), kRowsThreads, 4 * kRowsThreads / 32};
}

StepShape shape_of(const SumArgs& args, std::int64_t most) noexcept {
  const std::int64_t items = std::int64_t{args.tokens} * ceil_divide(args.columns, 8);
  return {std::clamp<std::int64_t>(ceil_div(items, kSumThreads), 1, most), kSumThreads, 0};
}

Status check_step_sizes(const MoeProblem& problem, std::int64_t tokens) {
  constexpr std::int64_t kMostExperts = kUsualSharedBytes / 4 / 4;  // a warp's counts and what stands beside them
  if (problem.experts > kMostExperts) {
    return fail(ErrorCode::unsupported,
                fmt::format("experts is {}, a layer on a GPU has at most {}", problem.experts, kMostExperts));
  }
  if (problem.top_k > 64) {
    return fail(ErrorCode::unsupported, fmt::format("top_k is {}, a layer on a GPU takes at most 64", problem.top_k));
  }
  constexpr std::int64_t kMost = std::int64_t{1} << 30;
  const std::int64_t columns = std::max(problem.hidden_size, problem.intermediate_size);
  const std::int64_t shortest = problem.block_shape ? std::min<std::int64_t>(problem.block_shape->k, 8) : 8;
  const std::int64_t parts = ceil_div(columns, shortest);
  if (tokens <= kMost / problem.top_k / parts) return {};
  return fail(
      ErrorCode::unsupported,
      fmt::format("hidden_states has {} tokens, a layer with top_k {} and rows of {} takes at most {} at a time",
                  tokens, problem.top_k, columns, kMost / problem.top_k / parts));
}

}  // namespace expertile
