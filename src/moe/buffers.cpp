#include "moe/buffers.hpp"

#include <algorithm>

#include "expertile/operand.hpp"
#include "problem/sizes.hpp"

namespace expertile {
namespace {

constexpr std::int64_t round_up(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit * unit; }

// Hands out aligned parts of a workspace, one behind the other; of none, their places as if it began at 0.
class Parts {
 public:
  explicit Parts(std::byte* begin) : begin_(begin) {}
  template <class T>
  T* take(std::int64_t count) {
    T* part = begin_ == nullptr ? nullptr : reinterpret_cast<T*>(begin_ + used_);
    used_ += static_cast<std::size_t>(
        round_up(count * static_cast<std::int64_t>(sizeof(T)), static_cast<std::int64_t>(kLayerAlignment)));
    return part;
  }
  [[nodiscard]] std::size_t used() const { return used_; }
  void go_back_to(std::size_t used) { used_ = used; }

 private:
  std::byte* begin_;
  std::size_t used_ = 0;
};

// Rows begin at multiples of 16 bytes, whatever their length.
MatrixView take_matrix(Parts& parts, ElementType type, std::int64_t rows, std::int64_t columns) {
  const auto size = static_cast<std::int64_t>(size_of(type));
  const std::int64_t pitch = round_up(columns * size, 16) / size;
  return {parts.take<std::byte>(rows * pitch * size), rows, columns, pitch, type};
}

std::span<float> take_scales(Parts& parts, std::int64_t count) {
  return {parts.take<float>(count), static_cast<std::size_t>(count)};
}

GroupedGemmArgs product_call(const LayerBuffers& buffers, const MoeProblem& problem, const MoeLayerArgs& args) {
  const auto experts = static_cast<std::size_t>(problem.experts);
  GroupedGemmArgs call;
  call.seg_indptr = {buffers.seg_indptr, experts + 1};
  call.weight_indices = {buffers.weight_indices, experts};
  call.stream = args.stream;
  return call;
}

}  // namespace

std::int64_t id_at(const TopKIds& ids, std::int64_t token, std::int64_t slot) noexcept {
  const std::int64_t index = token * ids.pitch + slot;
  return ids.is_64_bits ? static_cast<const std::int64_t*>(ids.data)[index]
                        : static_cast<const std::int32_t*>(ids.data)[index];
}

ElementType multiplied_type(const MoeProblem& problem) noexcept {
  const ElementType type = operands_of(gate_up_of(problem)).multiplied_a.element;
  const bool is_narrow = type == ElementType::float8_e4m3 || type == ElementType::int8;
  return is_narrow ? type : hidden_type_of(problem);
}

std::int64_t made_scales(const Problem& product, std::int64_t rows) noexcept {
  return scales_of(product) == Scales::per_tensor ? 0 : scale_sizes(product, rows).a;
}

LayerBuffers layer_buffers(const MoeProblem& problem, std::int64_t tokens, std::byte* workspace) noexcept {
  const Problem gate_up = gate_up_of(problem);
  const Problem down = down_of(problem);
  const std::int64_t rows = tokens * problem.top_k;
  const ElementType hidden = hidden_type_of(problem);
  const ElementType multiplied = multiplied_type(problem);
  Parts parts(workspace);
  LayerBuffers buffers;
  buffers.seg_indptr = parts.take<std::int64_t>(problem.experts + 1);
  buffers.weight_indices = parts.take<std::int64_t>(problem.experts);
  buffers.slot_row = parts.take<std::int32_t>(rows);
  buffers.row_slot = parts.take<std::int32_t>(rows);
  buffers.row_expert = parts.take<std::int32_t>(rows);
  const std::size_t inputs = parts.used();
  buffers.a13 = take_matrix(parts, multiplied, rows, problem.hidden_size);
  buffers.scales_13 = take_scales(parts, made_scales(gate_up, rows));
  const std::size_t end_of_first = parts.used();
  parts.go_back_to(inputs);
  buffers.a2 = take_matrix(parts, multiplied, rows, problem.intermediate_size);
  buffers.scales_2 = take_scales(parts, made_scales(down, rows));
  const std::size_t outputs = std::max(end_of_first, parts.used());
  parts.go_back_to(outputs);
  buffers.c13 = take_matrix(parts, hidden, rows, gate_up.n);
  const std::size_t end_of_c13 = parts.used();
  parts.go_back_to(outputs);
  buffers.c2 = take_matrix(parts, hidden, rows, problem.hidden_size);
  buffers.bytes = std::max(end_of_c13, parts.used());
  return buffers;
}

GroupedGemmArgs gate_up_call(const MoeProblem& problem, const MoeLayerArgs& args,
                             const LayerBuffers& buffers) noexcept {
  GroupedGemmArgs call = product_call(buffers, problem, args);
  call.a = buffers.a13;
  call.b = args.w13;
  call.c = buffers.c13;
  call.scale_a = args.input_scale_13.empty() ? std::span<const float>(buffers.scales_13) : args.input_scale_13;
  call.scale_b = args.scale_13;
  return call;
}

GroupedGemmArgs down_call(const MoeProblem& problem, const MoeLayerArgs& args, const LayerBuffers& buffers) noexcept {
  GroupedGemmArgs call = product_call(buffers, problem, args);
  call.a = buffers.a2;
  call.b = args.w2;
  call.c = buffers.c2;
  call.scale_a = args.input_scale_2.empty() ? std::span<const float>(buffers.scales_2) : args.input_scale_2;
  call.scale_b = args.scale_2;
  return call;
}

std::int64_t expected_rows(const MoeProblem& problem, const MoeLayerArgs& args) noexcept {
  const std::int64_t rows = args.hidden_states.rows * problem.top_k;
  const auto all = static_cast<std::int64_t>(args.expert_map.size());
  if (all <= problem.experts || rows == 0) return rows;
  return std::max<std::int64_t>(1, rows * problem.experts / all);
}

}  // namespace expertile
