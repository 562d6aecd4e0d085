// Layers: prepared and called.

#include <fmt/format.h>

#include "capi/matrices.hpp"
#include "capi/objects.hpp"
#include "capi/structs.hpp"
#include "capi/words.hpp"
#include "expertile/moe_layer.h"
#include "problem/sizes.hpp"

namespace expertile::capi {
namespace {

Result<bool> flag_of(std::int32_t value, const char* name) {
  if (value == 0 || value == 1) return value == 1;
  return invalid(fmt::format("{} is {}, it must be 0 or 1", name, value));
}

Status read_words(const expertile_layer_desc& desc, MoeProblem& problem) {
  const auto dtype = dtype_of(desc.dtype);
  if (!dtype) return fail(dtype.error());
  const auto scales = scales_of(desc.scales);
  if (!scales) return fail(scales.error());
  problem.dtype = *dtype;
  problem.scales = *scales;
  problem.activation = static_cast<Activation>(desc.activation);  // the library refuses what is none
  problem.gate_order = static_cast<GateOrder>(desc.gate_order);
  if (desc.hidden_element == EXPERTILE_ELEMENT_NONE) return {};
  const auto hidden = element_of(desc.hidden_element, "desc", ".hidden_element");
  if (!hidden) return fail(hidden.error());
  problem.hidden_type = *hidden;
  return {};
}

Result<MoeProblem> layer_of(const expertile_layer_desc* desc) {
  if (auto status = check_struct(desc, "desc", "expertile_layer_desc"); !status) return fail(status.error());
  MoeProblem problem{
      .experts = desc->experts, .hidden_size = desc->hidden_size, .intermediate_size = desc->intermediate_size};
  if (desc->top_k != 0) problem.top_k = desc->top_k;
  if (auto status = read_words(*desc, problem); !status) return fail(status.error());
  if (desc->block_n != 0 || desc->block_k != 0) problem.block_shape = BlockShape{desc->block_n, desc->block_k};
  const auto tf32 = flag_of(desc->tf32, "desc.tf32");
  if (!tf32) return fail(tf32.error());
  problem.tf32 = *tf32;
  if (desc->alpha != 0) problem.alpha = desc->alpha;
  if (desc->limit != 0) problem.limit = desc->limit;
  const auto on_input = flag_of(desc->router_weight_on_input, "desc.router_weight_on_input");
  if (!on_input) return fail(on_input.error());
  problem.router_weight = *on_input ? RouterWeight::input : RouterWeight::output;
  const auto invariant = flag_of(desc->batch_invariant, "desc.batch_invariant");
  if (!invariant) return fail(invariant.error());
  problem.batch_invariant = *invariant;
  if (auto status = validate(problem); !status) return fail(status.error());
  return problem;
}

Result<MoePrepareOptions> layer_options_of(const expertile_prepare_options* given) {
  const auto read = options_of(given);
  if (!read) return fail(read.error());
  if (read->c_type) return invalid("options.c_element is given, a layer has desc.hidden_element");
  if (read->row_layout != RowLayout::offsets) return invalid("options.row_layout is given, a layer has none");
  return MoePrepareOptions{.device = read->device, .threads = read->threads, .config_dir = read->config_dir};
}

// Read into `out`; where it may be left out, no data is none.
Status take(const expertile_matrix& given, const char* name, bool may_be_none, ConstMatrixView& out) {
  if (may_be_none && given.data == nullptr) return {};
  const auto view = view_of<ConstMatrixView>(given, name);
  if (!view) return fail(view.error());
  out = *view;
  return {};
}

template <class T>
Status take(const T* given, std::int64_t count, const char* name, const char* counted, std::span<const T>& out) {
  const auto span = span_of(given, count, name, counted);
  if (!span) return fail(span.error());
  out = *span;
  return {};
}

Status take_matrices(const expertile_layer_args& given, MoeLayerArgs& args) {
  const struct {
    const expertile_matrix& matrix;
    const char* name;
    bool may_be_none;
    ConstMatrixView& out;
  } all[] = {{given.hidden_states, "hidden_states", false, args.hidden_states},
             {given.w13, "w13", false, args.w13},
             {given.w2, "w2", false, args.w2},
             {given.topk_weights, "topk_weights", false, args.topk_weights},
             {given.bias_13, "bias_13", true, args.bias_13},
             {given.bias_2, "bias_2", true, args.bias_2},
             {given.shared_output, "shared_output", true, args.shared_output}};
  for (const auto& one : all) {
    if (auto status = take(one.matrix, one.name, one.may_be_none, one.out); !status) return status;
  }
  const auto out = view_of<MatrixView>(given.out, "out");
  if (!out) return fail(out.error());
  args.out = *out;
  return {};
}

Status take_ids(const expertile_layer_args& given, std::int64_t top_k, MoeLayerArgs& args) {
  if (given.topk_ids_bits != 32 && given.topk_ids_bits != 64) {
    return invalid(fmt::format("topk_ids_bits is {}, it must be 32 or 64", given.topk_ids_bits));
  }
  if (given.reserved != 0) return invalid(fmt::format("args.reserved is {}, it must be 0", given.reserved));
  const bool is_long = given.topk_ids_bits == 64;
  if (auto status = check_aligned(given.topk_ids, is_long ? 8 : 4, "topk_ids"); !status) return status;
  const std::int64_t pitch = given.topk_ids_pitch == 0 ? top_k : given.topk_ids_pitch;
  args.topk_ids = {given.topk_ids, args.hidden_states.rows, top_k, pitch, is_long};
  return take(given.expert_map, given.expert_map_count, "expert_map", "expert_map_count", args.expert_map);
}

Result<MoeLayerArgs> layer_args_of(const expertile_layer_args* given, std::int64_t top_k) {
  if (auto status = check_struct(given, "args", "expertile_layer_args"); !status) return fail(status.error());
  MoeLayerArgs args;
  args.stream = given->stream;
  Status status = take_matrices(*given, args);
  if (status) status = take_ids(*given, top_k, args);
  if (status) status = take(given->scale_13, given->scale_13_count, "scale_13", "scale_13_count", args.scale_13);
  if (status) status = take(given->scale_2, given->scale_2_count, "scale_2", "scale_2_count", args.scale_2);
  if (status) {
    status = take(given->input_scale_13, given->input_scale_13_count, "input_scale_13", "input_scale_13_count",
                  args.input_scale_13);
  }
  if (status) {
    status = take(given->input_scale_2, given->input_scale_2_count, "input_scale_2", "input_scale_2_count",
                  args.input_scale_2);
  }
  if (!status) return fail(status.error());
  if (given->workspace == nullptr && given->workspace_bytes > 0) {
    return invalid(fmt::format("workspace is null, by workspace_bytes it must hold {}", given->workspace_bytes));
  }
  args.workspace = {static_cast<std::byte*>(given->workspace), given->workspace_bytes};
  return args;
}

}  // namespace
}  // namespace expertile::capi

extern "C" {

const char* expertile_activation_name(expertile_activation activation) {
  const auto text = name(static_cast<expertile::Activation>(activation));
  return text.empty() ? "?" : text.data();  // of literals, which end with a zero
}

const char* expertile_gate_order_name(expertile_gate_order order) {
  const auto text = name(static_cast<expertile::GateOrder>(order));
  return text.empty() ? "?" : text.data();
}

expertile_status expertile_parse_activation(const char* name, expertile_activation* activation) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    if (name == nullptr) return capi::invalid("name is null, it must point to a string");
    if (activation == nullptr) return capi::invalid("activation is null, it must point to an expertile_activation");
    const auto parsed = parse_activation(name);
    if (!parsed) return fail(parsed.error());
    *activation = static_cast<expertile_activation>(*parsed);
    return {};
  });
}

expertile_status expertile_parse_gate_order(const char* name, expertile_gate_order* order) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    if (name == nullptr) return capi::invalid("name is null, it must point to a string");
    if (order == nullptr) return capi::invalid("order is null, it must point to an expertile_gate_order");
    const auto parsed = parse_gate_order(name);
    if (!parsed) return fail(parsed.error());
    *order = static_cast<expertile_gate_order>(*parsed);
    return {};
  });
}

expertile_status expertile_layer_prepare(const expertile_layer_desc* desc, const expertile_prepare_options* options,
                                         expertile_layer** out) {
  using namespace expertile;
  return capi::add_handle(capi::layers(), out, [&]() -> Result<MoeLayer> {
    const auto problem = capi::layer_of(desc);
    if (!problem) return fail(problem.error());
    const auto read = capi::layer_options_of(options);
    if (!read) return fail(read.error());
    return MoeLayer::prepare(*problem, *read);
  });
}

expertile_status expertile_layer_run(const expertile_layer* layer, const expertile_layer_args* args) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    const auto found = capi::find(layer);
    if (!found) return fail(found.error());
    const auto read = capi::layer_args_of(args, (*found)->problem().top_k);
    if (!read) return fail(read.error());
    return (**found)(*read);
  });
}

expertile_status expertile_layer_validate(const expertile_layer_desc* desc, const expertile_layer_args* args) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    const auto problem = capi::layer_of(desc);
    if (!problem) return fail(problem.error());
    const auto read = capi::layer_args_of(args, problem->top_k);
    if (!read) return fail(read.error());
    return validate(*problem, *read);
  });
}

expertile_status expertile_layer_workspace_bytes(const expertile_layer* layer, int64_t tokens, size_t* bytes) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    const auto found = capi::find(layer);
    if (!found) return fail(found.error());
    if (bytes == nullptr) return capi::invalid("bytes is null, it must point to a size_t");
    const MoeProblem& problem = (*found)->problem();
    for (const Problem& product : {gate_up_of(problem), down_of(problem)}) {
      if (auto status = capi::check_rows(product, tokens); !status) return status;
    }
    *bytes = (*found)->workspace_bytes(tokens);
    return {};
  });
}

}  // extern "C"
