#include "emulator/emulated_layer.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "emulator/emulated_steps.hpp"
#include "emulator/emulator.hpp"
#include "layer/route.hpp"
#include "layer/weighted_sum.hpp"

namespace expertile::testing {
namespace {

constexpr int kBlocks = 3;  // few, so that they go round

using emulator::Region;

Region region(const char* name, const ConstMatrixView& m, bool is_output = false) {
  const std::int64_t elements = m.rows == 0 ? 0 : (m.rows - 1) * m.pitch + m.cols;
  return {name, m.data, static_cast<std::size_t>(elements) * size_of(m.type), is_output};
}
template <class T>
Region region(const char* name, const T* values, std::int64_t count, bool is_output = false) {
  return {name, values, static_cast<std::size_t>(count) * sizeof(T), is_output};
}

std::vector<Region> routing(const MoeProblem& problem, const LayerBuffers& buffers) {
  const std::int64_t slots = buffers.a13.rows;
  return {region("seg_indptr", buffers.seg_indptr, problem.experts + 1), region("slot_row", buffers.slot_row, slots),
          region("row_slot", buffers.row_slot, slots), region("row_expert", buffers.row_expert, slots)};
}

Status make_rows_emulated(const RowsSpec& spec, const RowsArgs& in, std::vector<Region> memory) {
  static const std::vector<EmulatedRows> all = [] {
    std::vector<EmulatedRows> joined = rows_of_float16();
    for (const auto& more : {rows_of_bfloat16(), rows_of_float32()})
      joined.insert(joined.end(), more.begin(), more.end());
    return joined;
  }();
  const auto step = std::find_if(all.begin(), all.end(), [&](const EmulatedRows& one) { return one.spec == spec; });
  if (step == all.end()) return fail(ErrorCode::internal, "no emulated kernel makes such rows");
  const StepShape shape = shape_of(spec, in, kBlocks);
  return emulator::run({.blocks = static_cast<int>(shape.blocks),
                        .threads = shape.threads,
                        .shared_bytes = shape.shared_bytes,
                        .memory = std::move(memory)},
                       [&] { step->run(in); });
}

// Of the top_k that the layer has.
void sum_emulated(const SumSpec& spec, const SumArgs& in) {
  const auto with_top_k = [&]<Storage TYPE>() {
    switch (spec.top_k) {
      case 1:
        return weighted_sum<SumSpec{TYPE, 1}>(in);
      case 2:
        return weighted_sum<SumSpec{TYPE, 2}>(in);
      case 3:
        return weighted_sum<SumSpec{TYPE, 3}>(in);
      default:
        return weighted_sum<SumSpec{TYPE, 4}>(in);
    }
  };
  if (spec.type == Storage::float16) return with_top_k.template operator()<Storage::float16>();
  if (spec.type == Storage::bfloat16) return with_top_k.template operator()<Storage::bfloat16>();
  with_top_k.template operator()<Storage::float32>();
}

Status emulate_sum(const MoeProblem& problem, const MoeLayerArgs& args, const LayerBuffers& buffers,
                   const SumArgs& in) {
  const SumSpec spec = step_specs(problem).sum;
  if (spec.top_k > 4) return fail(ErrorCode::internal, "no emulated kernel adds so many slots");
  std::vector<Region> memory = routing(problem, buffers);
  memory.push_back(region("c2", buffers.c2));
  memory.push_back(region("bias_2", args.bias_2));
  memory.push_back(region("topk_weights", args.topk_weights));
  memory.push_back(region("shared_output", args.shared_output));
  memory.push_back(region("out", args.out, true));
  const StepShape shape = shape_of(in, kBlocks);
  return emulator::run(
      {.blocks = static_cast<int>(shape.blocks), .threads = shape.threads, .shared_bytes = 0, .memory = memory},
      [&] { sum_emulated(spec, in); });
}

}  // namespace

Status emulate_route(const MoeLayerArgs& args, const RouteArgs& in, int blocks) {
  const std::int64_t slots = std::int64_t{in.tokens} * in.top_k;
  const TopKIds& ids = args.topk_ids;
  const std::int64_t count = ids.tokens == 0 ? 0 : (ids.tokens - 1) * ids.pitch + ids.top_k;
  const std::vector<Region> memory = {
      {"topk_ids", ids.data, static_cast<std::size_t>(count) * (ids.is_64_bits ? 8 : 4)},
      region("expert_map", args.expert_map.data(), static_cast<std::int64_t>(args.expert_map.size())),
      region("seg_indptr", in.seg_indptr, in.experts + 1, true),
      region("weight_indices", in.weight_indices, in.experts, true),
      region("slot_row", in.slot_row, slots, true),
      region("row_slot", in.row_slot, slots, true),
      region("row_expert", in.row_expert, slots, true)};
  return emulator::run({.blocks = blocks,
                        .threads = 32 * in.warps,
                        .shared_bytes = route_shared_bytes(in.experts, in.warps),
                        .memory = memory},
                       [&] { route(in); });
}

Status run_emulated_layer(const MoeProblem& problem, const MoeLayerArgs& args, const LayerProduct& gate_up,
                          const LayerProduct& down, const StepFaults& faults) {
  const StepSpecs specs = step_specs(problem);
  const LayerBuffers buffers = layer_buffers(problem, args.hidden_states.rows, args.workspace.data());
  const RouteArgs in = route_args(problem, args, buffers);
  if (auto status = emulate_route(args, in, static_cast<int>(shape_of(in).blocks)); !status) return status;
  std::vector<Region> memory = routing(problem, buffers);
  memory.push_back(region("hidden_states", args.hidden_states));
  memory.push_back(region("topk_weights", args.topk_weights));
  memory.push_back(
      region("input_scale_13", args.input_scale_13.data(), static_cast<std::int64_t>(args.input_scale_13.size())));
  memory.push_back(region("a13", buffers.a13, true));
  memory.push_back(
      region("scales_13", buffers.scales_13.data(), static_cast<std::int64_t>(buffers.scales_13.size()), true));
  if (auto status = make_rows_emulated(specs.a13, a13_args(problem, args, buffers), memory); !status) return status;
  if (auto status = gate_up(gate_up_of(problem), gate_up_call(problem, args, buffers)); !status) return status;
  memory = routing(problem, buffers);
  memory.push_back(region("c13", buffers.c13));
  memory.push_back(region("bias_13", args.bias_13));
  memory.push_back(
      region("input_scale_2", args.input_scale_2.data(), static_cast<std::int64_t>(args.input_scale_2.size())));
  memory.push_back(region("a2", buffers.a2, true));
  memory.push_back(
      region("scales_2", buffers.scales_2.data(), static_cast<std::int64_t>(buffers.scales_2.size()), true));
  RowsSpec a2_spec = specs.a2;
  RowsArgs a2 = a2_args(problem, args, buffers);
  if (faults.in_a2_spec) faults.in_a2_spec(a2_spec);
  if (faults.in_a2) faults.in_a2(a2);
  if (auto status = make_rows_emulated(a2_spec, a2, memory); !status) return status;
  if (auto status = down(down_of(problem), down_call(problem, args, buffers)); !status) return status;
  if (faults.before_sum) faults.before_sum(buffers);
  SumArgs sum = sum_args(problem, args, buffers);
  if (faults.in_sum) faults.in_sum(sum);
  return emulate_sum(problem, args, buffers, sum);
}

}  // namespace expertile::testing
