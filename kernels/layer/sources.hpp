#pragma once
// Where a row of a product's A comes from, eight columns at a time: a hidden state, or the first product's row through
// the activation.

#include <ptx.hpp>

#include "layer/eight.hpp"
#include "layer/layer_spec.hpp"

namespace expertile {

// ---- hidden states --------------------------------------------------------------------------------------------------

template <RowsSpec SPEC>
struct HiddenState {
  long long first = 0;  // element of args.from
  float weight = 1.0F;  // of the slot

  // token: of args.from; slot: whose weight is multiplied in, if any is.
  EXPERTILE_DEVICE HiddenState(const RowsArgs& args, int token, int slot) : first(token * args.from_pitch) {
    if (SPEC.of != RowsOf::slots || args.weights == nullptr) return;
    weight = ptx::load_global(args.weights + token * args.weights_pitch + slot % args.top_k);
  }
  EXPERTILE_DEVICE void load(const RowsArgs& args, int column, int count, float (&out)[8]) const {
    load_eight<SPEC.from>(args.from, first + column, count, out);
    if constexpr (SPEC.of == RowsOf::slots) {
#pragma unroll
      for (int i = 0; i < 8; ++i) out[i] *= weight;
    }
  }
};

// ---- the activation -------------------------------------------------------------------------------------------------

EXPERTILE_DEVICE float sigmoid(float x) { return ptx::reciprocal(1.0F + ptx::exponential(-x)); }

// sqrt(2 / pi) * (g + 0.044715 * g^3) = y; g / 2 * (1 + tanh(y)) = g * sigmoid(2 * y).
EXPERTILE_DEVICE float gelu_tanh(float g) {
  constexpr float kTwice = 2.0F * 0.7978845608028654F;
  return g * sigmoid(kTwice * (g + 0.044715F * g * g * g));
}

template <Activation ACTIVATION>
EXPERTILE_DEVICE float activated(const RowsArgs& args, float gate, float up) {
  const float g = gate > args.limit ? args.limit : gate;
  if constexpr (!has_gate(ACTIVATION)) {
    const float positive = g < 0.0F ? 0.0F : g;
    return positive * positive;
  }
  const float u = up > args.limit ? args.limit : up < -args.limit ? -args.limit : up;
  if constexpr (ACTIVATION == Activation::silu) return g * sigmoid(g) * u;
  if constexpr (ACTIVATION == Activation::gelu_tanh) return gelu_tanh(g) * u;
  return g * sigmoid(args.alpha * g) * (u + 1.0F);  // swiglu_oai
}

// A row that the first product wrote: [columns], or [2 * columns] where there is a gate.
template <RowsSpec SPEC>
struct GatedRow {
  long long first = 0;       // element of args.from
  long long first_bias = 0;  // element of args.bias

  EXPERTILE_DEVICE GatedRow(const RowsArgs& args, int row, int expert)
      : first(row * args.from_pitch), first_bias(expert * args.bias_pitch) {}

  // Columns of `from` as they are stored, with the bias.
  EXPERTILE_DEVICE void load_plain(const RowsArgs& args, int column, int count, float (&out)[8]) const {
    load_eight<SPEC.from>(args.from, first + column, count, out);
    if (args.bias == nullptr) return;
    float bias[8];
    load_eight(args.bias_type, args.bias, first_bias + column, count, bias);
#pragma unroll
    for (int i = 0; i < 8; ++i) out[i] += bias[i];
  }
  EXPERTILE_DEVICE void load_gate_and_up(const RowsArgs& args, int column, int count, float (&gate)[8],
                                         float (&up)[8]) const {
    if constexpr (SPEC.order == GateOrder::interleaved) {
      float low[8];
      float high[8];
      load_plain(args, 2 * column, count < 4 ? 2 * count : 8, low);
      load_plain(args, 2 * column + 8, count < 4 ? 0 : 2 * count - 8, high);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        gate[i] = i < 4 ? low[2 * i % 8] : high[2 * i % 8];
        up[i] = i < 4 ? low[2 * i % 8 + 1] : high[2 * i % 8 + 1];
      }
    } else {
      constexpr bool kGateFirst = SPEC.order == GateOrder::gate_first;
      load_plain(args, kGateFirst ? column : args.columns + column, count, gate);
      load_plain(args, kGateFirst ? args.columns + column : column, count, up);
    }
  }
  EXPERTILE_DEVICE void load(const RowsArgs& args, int column, int count, float (&out)[8]) const {
    float gate[8];
    float up[8] = {};
    if constexpr (has_gate(SPEC.activation)) {
      load_gate_and_up(args, column, count, gate, up);
    } else {
      load_plain(args, column, count, gate);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) out[i] = activated<SPEC.activation>(args, gate[i], up[i]);
  }
};

}  // namespace expertile
