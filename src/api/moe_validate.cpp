#include "api/moe_validate.hpp"

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <vector>

#include "api/validate.hpp"
#include "expertile/operand.hpp"
#include "moe/buffers.hpp"
#include "problem/presets.hpp"
#include "problem/sizes.hpp"

namespace expertile {
namespace {

Status refuse(std::string line) { return fail(ErrorCode::invalid_argument, std::move(line)); }

Status check_size(const char* what, std::int64_t value) {
  if (value >= 1 && value <= kLargestSize) return {};
  return refuse(fmt::format("{} is {}, it must be from 1 to {}", what, value, kLargestSize));
}

// What hidden states may be, beside the dtype's own type.
Status check_hidden_type(const MoeProblem& problem) {
  const ElementType type = hidden_type_of(problem);
  const Problem product = gate_up_of(problem);
  std::vector<ElementType> fits;
  for (const ElementType one : types_of_c()) {
    const Preset& preset = preset_of(product);
    const bool is_quantised = preset.a.element == ElementType::float8_e4m3 || preset.a.element == ElementType::int8;
    if (is_quantised || one == preset.a.element || preset.other_a == one) fits.push_back(one);
  }
  if (problem.block_shape && product.dtype != problem.dtype) fits = {activation_type(problem.dtype)};
  for (const ElementType one : fits) {
    if (one == type) return {};
  }
  return refuse(fmt::format("hidden_type is {}, dtype {}{} needs {}", name(type), name(problem.dtype),
                            problem.block_shape ? " with a block_shape" : "", join(fits, "or")));
}

Status check_matrix_of(const char* what, const ConstMatrixView& matrix, ElementType type, std::int64_t rows,
                       std::int64_t cols) {
  if (matrix.type != type) return refuse(fmt::format("{} is {}, it must be {}", what, name(matrix.type), name(type)));
  return check_matrix(what, matrix, rows, cols);
}

Status check_bias(const char* what, const ConstMatrixView& bias, std::int64_t experts, std::int64_t cols) {
  if (bias.data == nullptr) return {};
  for (const ElementType type : types_of_c()) {
    if (bias.type == type) return check_matrix(what, bias, experts, cols);
  }
  return refuse(fmt::format("{} is {}, it must be {}", what, name(bias.type), join(types_of_c(), "or")));
}

Status check_scale(const char* what, std::span<const float> scale, std::int64_t needed, const MoeProblem& problem) {
  const bool fits = static_cast<std::int64_t>(scale.size()) == needed && (needed == 0 || scale.data() != nullptr);
  if (fits) return {};
  return refuse(fmt::format("{} has {} entries, scales '{}' of dtype {} need {}", what, scale.size(),
                            name(scales_of(gate_up_of(problem))), name(problem.dtype), needed));
}

Status check_scales(const MoeProblem& problem, const MoeLayerArgs& args) {
  const Problem gate_up = gate_up_of(problem);
  const Problem down = down_of(problem);
  const std::int64_t of_inputs = scales_of(gate_up) == Scales::per_tensor ? problem.experts : 0;
  if (auto status = check_scale("scale_13", args.scale_13, scale_sizes(gate_up, 0).b, problem); !status) return status;
  if (auto status = check_scale("scale_2", args.scale_2, scale_sizes(down, 0).b, problem); !status) return status;
  if (auto status = check_scale("input_scale_13", args.input_scale_13, of_inputs, problem); !status) return status;
  return check_scale("input_scale_2", args.input_scale_2, of_inputs, problem);
}

Status check_ids(const MoeProblem& problem, const TopKIds& ids, std::int64_t tokens) {
  if (ids.tokens != tokens || ids.top_k != problem.top_k) {
    return refuse(
        fmt::format("topk_ids is [{}, {}], the call needs [{}, {}]", ids.tokens, ids.top_k, tokens, problem.top_k));
  }
  if (ids.pitch < ids.top_k) {
    return refuse(fmt::format("topk_ids' pitch is {}, it must be at least its {} columns", ids.pitch, ids.top_k));
  }
  if (ids.data == nullptr && tokens > 0) {
    return refuse(fmt::format("topk_ids' data is null, it must hold [{}, {}]", tokens, problem.top_k));
  }
  return {};
}

Status check_layer_workspace(const MoeProblem& problem, const MoeLayerArgs& args) {
  const std::size_t needed = layer_buffers(problem, args.hidden_states.rows, nullptr).bytes;
  const bool is_aligned = reinterpret_cast<std::uintptr_t>(args.workspace.data()) % kLayerAlignment == 0;
  if (args.hidden_states.rows == 0 || (args.workspace.size() >= needed && is_aligned)) return {};
  return refuse(fmt::format("workspace has {} bytes at address {}, {} tokens need {} bytes aligned to {}",
                            args.workspace.size(), static_cast<const void*>(args.workspace.data()),
                            args.hidden_states.rows, needed, kLayerAlignment));
}

}  // namespace

Status validate(const MoeProblem& problem) {
  if (auto status = check_size("experts", problem.experts); !status) return status;
  if (auto status = check_size("hidden_size", problem.hidden_size); !status) return status;
  if (auto status = check_size("intermediate_size", problem.intermediate_size); !status) return status;
  if (auto status = check_size("top_k", problem.top_k); !status) return status;
  if (name(problem.activation).empty()) {
    return refuse(fmt::format("activation is {}, which is none", static_cast<int>(problem.activation)));
  }
  if (name(problem.gate_order).empty()) {
    return refuse(fmt::format("gate_order is {}, which is none", static_cast<int>(problem.gate_order)));
  }
  if (name(problem.router_weight).empty()) {
    return refuse(fmt::format("router_weight is {}, which is none", static_cast<int>(problem.router_weight)));
  }
  if (!std::isfinite(problem.alpha)) return refuse(fmt::format("alpha is {}, it must be a number", problem.alpha));
  if (problem.limit && !(*problem.limit > 0)) {
    return refuse(fmt::format("limit is {}, it must be above 0; give none for no limit", *problem.limit));
  }
  if (auto status = validate(gate_up_of(problem)); !status) return status;
  if (auto status = validate(down_of(problem)); !status) return status;
  return check_hidden_type(problem);
}

Status check_layer_call(const MoeProblem& problem, const MoeLayerArgs& args) {
  const std::int64_t tokens = args.hidden_states.rows;
  if (tokens < 0) return refuse(fmt::format("hidden_states has {} rows, it must have 0 or more", tokens));
  const ElementType hidden = hidden_type_of(problem);
  const ElementType weights = operands_of(gate_up_of(problem)).b.element;
  const std::int64_t columns_13 = gate_up_of(problem).n;
  const struct {
    const char* what;
    const ConstMatrixView& matrix;
    ElementType type;
    std::int64_t rows;
    std::int64_t cols;
  } matrices[] = {
      {"hidden_states", args.hidden_states, hidden, tokens, problem.hidden_size},
      {"w13", args.w13, weights, problem.experts * columns_13, problem.hidden_size},
      {"w2", args.w2, weights, problem.experts * problem.hidden_size, problem.intermediate_size},
      {"topk_weights", args.topk_weights, ElementType::float32, tokens, problem.top_k},
      {"out", args.out, hidden, tokens, problem.hidden_size},
  };
  for (const auto& one : matrices) {
    if (auto status = check_matrix_of(one.what, one.matrix, one.type, one.rows, one.cols); !status) return status;
  }
  if (args.shared_output.data != nullptr) {
    auto status = check_matrix_of("shared_output", args.shared_output, hidden, tokens, problem.hidden_size);
    if (!status) return status;
  }
  if (auto status = check_ids(problem, args.topk_ids, tokens); !status) return status;
  if (auto status = check_bias("bias_13", args.bias_13, problem.experts, columns_13); !status) return status;
  if (auto status = check_bias("bias_2", args.bias_2, problem.experts, problem.hidden_size); !status) return status;
  if (auto status = check_scales(problem, args); !status) return status;
  return check_layer_workspace(problem, args);
}

Status check_layer_routing(const MoeProblem& problem, const MoeLayerArgs& args) {
  const auto mapped = static_cast<std::int64_t>(args.expert_map.size());
  for (std::int64_t i = 0; i < mapped; ++i) {
    const std::int32_t local = args.expert_map[static_cast<std::size_t>(i)];
    if (local < -1 || local >= problem.experts) {
      return refuse(fmt::format("expert_map[{}] is {}, it must be from -1 to {}", i, local, problem.experts - 1));
    }
  }
  const std::int64_t last = (mapped > 0 ? mapped : problem.experts) - 1;
  for (std::int64_t token = 0; token < args.topk_ids.tokens; ++token) {
    for (std::int64_t slot = 0; slot < args.topk_ids.top_k; ++slot) {
      const std::int64_t id = id_at(args.topk_ids, token, slot);
      if (id >= -1 && id <= last) continue;
      return refuse(fmt::format("topk_ids[{}, {}] is {}, it must be from -1 to {}", token, slot, id, last));
    }
  }
  return {};
}

Status validate(const MoeProblem& problem, const MoeLayerArgs& args) {
  if (auto status = check_layer_call(problem, args); !status) return status;
  return check_layer_routing(problem, args);
}

}  // namespace expertile
