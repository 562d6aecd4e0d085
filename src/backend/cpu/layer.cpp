#include "backend/cpu/layer.hpp"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "backend/cpu/activation.hpp"
#include "backend/cpu/pack.hpp"
#include "backend/cpu/quantise.hpp"
#include "problem/sizes.hpp"

namespace expertile::cpu {
namespace {

const std::byte* at(const ConstMatrixView& matrix, std::int64_t row) {
  return static_cast<const std::byte*>(matrix.data) +
         row * matrix.pitch * static_cast<std::int64_t>(size_of(matrix.type));
}
std::byte* at(const MatrixView& matrix, std::int64_t row) {
  return static_cast<std::byte*>(matrix.data) + row * matrix.pitch * static_cast<std::int64_t>(size_of(matrix.type));
}

void load_row(const LayerCall& call, const ConstMatrixView& matrix, std::int64_t row, float* out) {
  float_from(call.kernels, matrix.type, at(matrix, row), matrix.cols, out);
}

void store_row(const LayerCall& call, const float* values, const MatrixView& matrix, std::int64_t row) {
  if (matrix.type == ElementType::float32) {
    std::memcpy(at(matrix, row), values, static_cast<std::size_t>(matrix.cols) * sizeof(float));
  } else if (matrix.type == ElementType::float16) {
    call.kernels.float16_from_float(values, reinterpret_cast<std::uint16_t*>(at(matrix, row)), matrix.cols);
  } else {
    for (std::int64_t i = 0; i < matrix.cols; ++i) store_element(matrix.type, values[i], at(matrix, row), i);
  }
}

// The local expert of an id; -1 where it has none here.
std::int64_t expert_of(const LayerCall& call, std::int64_t token, std::int64_t slot) {
  std::int64_t id = id_at(call.args.topk_ids, token, slot);
  const auto& map = call.args.expert_map;
  if (!map.empty()) id = id >= 0 && id < static_cast<std::int64_t>(map.size()) ? map[static_cast<std::size_t>(id)] : -1;
  return id >= 0 && id < call.problem.experts ? id : -1;
}

float weight_of(const LayerCall& call, std::int64_t token, std::int64_t slot) {
  const ConstMatrixView& weights = call.args.topk_weights;
  return static_cast<const float*>(weights.data)[token * weights.pitch + slot];
}

// Where the rows of one product's A go, and how they are narrowed.
struct Rows {
  const MatrixView& out;
  std::span<float> scales;           // made here
  std::span<const float> by_expert;  // given; empty: none
  Problem product;
};

// A NaN anywhere is the largest: comparing alone would drop it.
float largest_magnitude(const float* values, std::int64_t count) {
  float largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const float magnitude = std::fabs(values[i]);
    if (!(magnitude <= largest)) largest = magnitude;
    if (std::isnan(largest)) return largest;
  }
  return largest;
}

// values [columns] are divided by their scales in place, and stored to row `row`.
void store_narrow(const LayerCall& call, const Rows& rows, float* values, std::int64_t row) {
  const std::int64_t columns = rows.out.cols;
  if (!rows.by_expert.empty()) {
    const float scale = rows.by_expert[static_cast<std::size_t>(call.buffers.row_expert[row])];
    for (std::int64_t i = 0; i < columns; ++i) values[i] /= scale;
  } else if (!rows.scales.empty()) {
    const bool has_blocks = scales_of(rows.product) == Scales::block;
    const std::int64_t length = has_blocks ? rows.product.block_shape->k : columns;
    const std::int64_t blocks = ceil_div(columns, length);
    for (std::int64_t block = 0; block < blocks; ++block) {
      float* part = values + block * length;
      const std::int64_t count = std::min(length, columns - block * length);
      const float scale = scale_of(largest_magnitude(part, count), rows.out.type);
      rows.scales[static_cast<std::size_t>(row * blocks + block)] = scale;
      for (std::int64_t i = 0; i < count; ++i) part[i] /= scale;
    }
  }
  store_row(call, values, rows.out, row);
}

// Row `from` again, with its scales.
void copy_row(const Rows& rows, std::int64_t from, std::int64_t to) {
  std::memcpy(at(rows.out, to), at(rows.out, from),
              static_cast<std::size_t>(rows.out.cols) * static_cast<std::size_t>(size_of(rows.out.type)));
  if (rows.scales.empty()) return;
  const auto count = static_cast<std::int64_t>(rows.scales.size()) / rows.out.rows;
  std::copy_n(rows.scales.begin() + from * count, count, rows.scales.begin() + to * count);
}

// values: [H], of the thread's own.
void make_rows_of(const LayerCall& call, const Rows& rows, std::int64_t token, float* values) {
  const bool is_by_slot = weighs_inputs(call.problem) || !rows.by_expert.empty();
  std::int64_t first = -1;  // the token's first row, which the others repeat
  for (std::int64_t slot = 0; slot < call.problem.top_k; ++slot) {
    const std::int64_t row = call.buffers.slot_row[token * call.problem.top_k + slot];
    if (row < 0) continue;
    if (!is_by_slot && first >= 0) {
      copy_row(rows, first, row);
      continue;
    }
    first = row;
    load_row(call, call.args.hidden_states, token, values);
    if (weighs_inputs(call.problem)) {
      const float weight = weight_of(call, token, slot);
      for (std::int64_t i = 0; i < rows.out.cols; ++i) values[i] *= weight;
    }
    store_narrow(call, rows, values, row);
  }
}

void add_bias(const LayerCall& call, const ConstMatrixView& bias, std::int64_t expert, float* scratch, float* values) {
  if (bias.data == nullptr) return;
  load_row(call, bias, expert, scratch);
  for (std::int64_t i = 0; i < bias.cols; ++i) values[i] += scratch[i];
}

// row: [2I or I], gate and up as they are stored.
void activate(const MoeProblem& problem, const float* row, float* out) {
  const std::int64_t count = problem.intermediate_size;
  const ActivationNumbers numbers{problem.alpha, limit_of(problem).value_or(std::numeric_limits<float>::infinity())};
  const bool is_interleaved = problem.gate_order == GateOrder::interleaved && has_gate(problem.activation);
  const bool is_up_first = problem.gate_order == GateOrder::up_first && has_gate(problem.activation);
  const std::int64_t step = is_interleaved ? 2 : 1;
  const float* gate = is_up_first ? row + count : row;
  const float* up = is_interleaved ? row + 1 : is_up_first ? row : row + count;
  switch (problem.activation) {
    case Activation::silu:
      return activate_row<Activation::silu>(numbers, gate, up, step, count, out);
    case Activation::gelu_tanh:
      return activate_row<Activation::gelu_tanh>(numbers, gate, up, step, count, out);
    case Activation::swiglu_oai:
      return activate_row<Activation::swiglu_oai>(numbers, gate, up, step, count, out);
    case Activation::relu2:
      return activate_row<Activation::relu2>(numbers, gate, gate, step, count, out);
  }
}

// sums, row_values, scratch: [H] each, of the thread's own.
void add_slots(const LayerCall& call, std::int64_t token, float* sums, float* row_values, float* scratch) {
  const std::int64_t columns = call.problem.hidden_size;
  const MoeLayerArgs& args = call.args;
  if (args.shared_output.data != nullptr) {
    load_row(call, args.shared_output, token, sums);
  } else {
    std::fill_n(sums, columns, 0.0F);
  }
  for (std::int64_t slot = 0; slot < call.problem.top_k; ++slot) {
    const std::int64_t row = call.buffers.slot_row[token * call.problem.top_k + slot];
    if (row < 0) continue;
    load_row(call, call.buffers.c2, row, row_values);
    add_bias(call, args.bias_2, call.buffers.row_expert[row], scratch, row_values);
    const float weight = weighs_inputs(call.problem) ? 1.0F : weight_of(call, token, slot);
    for (std::int64_t i = 0; i < columns; ++i) sums[i] += weight * row_values[i];
  }
  store_row(call, sums, args.out, token);
}

// Floats of each thread's own, made before the threads begin: lack of memory must not leave a parallel region.
class ThreadFloats {
 public:
  ThreadFloats(int threads, std::int64_t count)
      : count_(static_cast<std::size_t>(count)), all_(static_cast<std::size_t>(threads) * count_) {}
  // Of the thread that asks.
  [[nodiscard]] float* mine() { return all_.data() + static_cast<std::size_t>(omp_get_thread_num()) * count_; }

 private:
  std::size_t count_;
  std::vector<float> all_;
};

}  // namespace

void route(const LayerCall& call) {
  const LayerBuffers& to = call.buffers;
  const std::int64_t tokens = call.args.topk_ids.tokens;
  const std::int64_t top_k = call.problem.top_k;
  std::fill_n(to.seg_indptr, call.problem.experts + 1, 0);
  for (std::int64_t i = 0; i < tokens * top_k; ++i) {
    const std::int64_t expert = expert_of(call, i / top_k, i % top_k);
    to.slot_row[i] = static_cast<std::int32_t>(expert);  // for the second look
    if (expert >= 0) ++to.seg_indptr[expert + 1];
  }
  std::vector<std::int64_t> next(static_cast<std::size_t>(call.problem.experts));
  for (std::int64_t expert = 0; expert < call.problem.experts; ++expert) {
    next[static_cast<std::size_t>(expert)] = to.seg_indptr[expert];
    to.seg_indptr[expert + 1] += to.seg_indptr[expert];
    to.weight_indices[expert] = expert;
  }
  for (std::int64_t i = 0; i < tokens * top_k; ++i) {
    const std::int32_t expert = to.slot_row[i];
    if (expert < 0) continue;
    const std::int64_t row = next[static_cast<std::size_t>(expert)]++;
    to.slot_row[i] = static_cast<std::int32_t>(row);
    to.row_slot[row] = static_cast<std::int32_t>(i);
    to.row_expert[row] = expert;
  }
}

void make_a13(const LayerCall& call) {
  const Rows rows{call.buffers.a13, call.buffers.scales_13, call.args.input_scale_13, gate_up_of(call.problem)};
  ThreadFloats floats(call.threads, call.problem.hidden_size);
#pragma omp parallel for num_threads(call.threads) schedule(static)
  for (std::int64_t token = 0; token < call.args.hidden_states.rows; ++token) {
    make_rows_of(call, rows, token, floats.mine());
  }
}

void make_a2(const LayerCall& call) {
  const Rows rows{call.buffers.a2, call.buffers.scales_2, call.args.input_scale_2, down_of(call.problem)};
  const std::int64_t wide = call.buffers.c13.cols;
  const std::int64_t count = call.buffers.seg_indptr[call.problem.experts];
  ThreadFloats floats(call.threads, 2 * wide + call.problem.intermediate_size);
#pragma omp parallel for num_threads(call.threads) schedule(static)
  for (std::int64_t row = 0; row < count; ++row) {
    float* from = floats.mine();  // [2I or I], then as many of the bias, then [I]
    float* made = from + 2 * wide;
    load_row(call, call.buffers.c13, row, from);
    add_bias(call, call.args.bias_13, call.buffers.row_expert[row], from + wide, from);
    activate(call.problem, from, made);
    store_narrow(call, rows, made, row);
  }
}

void weighted_sum(const LayerCall& call) {
  const std::int64_t columns = call.problem.hidden_size;
  ThreadFloats floats(call.threads, 3 * columns);
#pragma omp parallel for num_threads(call.threads) schedule(static)
  for (std::int64_t token = 0; token < call.args.out.rows; ++token) {
    float* sums = floats.mine();
    add_slots(call, token, sums, sums + columns, sums + 2 * columns);
  }
}

}  // namespace expertile::cpu
