#pragma once
// What the layer's own kernels are compiled for, and the arguments of their calls: read by host and device alike. A
// "slot" is one of a token's top_k places, numbered token * top_k + place; a "row" is one of the products' rows, which
// lie sorted by expert.

#include "expertile/activation.hpp"
#include "kernel_spec.hpp"

namespace expertile {

// ---- which row each slot has ----------------------------------------------------------------------------------------

struct RouteArgs {
  const void* ids = nullptr;  // [tokens, top_k] of int, or of long long
  long long ids_pitch = 0;
  int ids_are_long = 0;
  const int* expert_map = nullptr;  // [mapped]; null: ids are local
  int mapped = 0;
  int tokens = 0;
  int top_k = 0;
  int experts = 0;
  int warps = 0;                        // of a block
  long long* seg_indptr = nullptr;      // [experts + 1]
  long long* weight_indices = nullptr;  // [experts]: 0, 1, ...
  int* slot_row = nullptr;              // [tokens * top_k]: -1 where the slot has no expert here
  int* row_slot = nullptr;              // [rows]
  int* row_expert = nullptr;            // [rows]
};
inline constexpr int kMostRouteWarps = 32;
// Slots that one block sorts; from twice as many on there are several, each of which counts all others' slots, too.
inline constexpr int kSlotsOfABlock = 4096;
inline constexpr int kMostRouteBlocks = 128;
constexpr int route_shared_bytes(int experts, int warps) { return 4 * (experts * (warps + 2) + kMostRouteWarps); }

// ---- rows of a product's A ------------------------------------------------------------------------------------------

enum class RowsOf : int {
  tokens,   // a token's hidden state, to each of its slots' rows
  slots,    // the same row by row: times the slot's weight, or by its expert's scale
  gate_up,  // what the first product wrote, through the activation
};

struct RowsSpec {
  RowsOf of = RowsOf::tokens;
  Storage from = Storage::bfloat16;  // of hidden states and of what products write
  Storage out = Storage::bfloat16;   // of A
  Scaling scaling = Scaling::none;   // per_tensor: by the expert's scale, which is given; else made here
  Activation activation = Activation::silu;
  GateOrder order = GateOrder::gate_first;

  friend constexpr bool operator==(const RowsSpec&, const RowsSpec&) = default;
};

struct RowsArgs {
  const void* from = nullptr;  // [tokens, columns], or [rows, 2 * columns] where there is a gate
  long long from_pitch = 0;    // elements, like every pitch
  const void* bias = nullptr;  // [experts, the columns of `from`]; null: none
  long long bias_pitch = 0;
  Storage bias_type = Storage::float32;
  const float* weights = nullptr;  // [tokens, top_k] of slots; null: they are not multiplied in here
  long long weights_pitch = 0;
  const float* expert_scales = nullptr;  // [experts], per_tensor
  const long long* seg_indptr = nullptr;
  const int* slot_row = nullptr;
  const int* row_slot = nullptr;
  const int* row_expert = nullptr;
  void* out = nullptr;      // [rows, columns]
  long long out_pitch = 0;  // whole multiples of 16 bytes
  float* scales = nullptr;  // [rows], or [rows, ceil(columns / block_k)]
  int tokens = 0;
  int top_k = 0;
  int experts = 0;
  int columns = 0;
  int block_k = 0;  // columns of a scale
  float alpha = 0;
  float limit = 0;  // infinity: none
};
inline constexpr int kRowsThreads = 256;
// Lanes that share a row's part: 16 take 128 columns at a time, or the whole block a row that has one scale.
constexpr int lanes_of(const RowsSpec& spec) { return spec.scaling == Scaling::per_token_channel ? kRowsThreads : 16; }
// Columns of such a part: a scale's, or as many as its lanes take at a time.
constexpr int part_columns(const RowsSpec& spec, const RowsArgs& args) {
  if (spec.scaling == Scaling::per_token_channel) return args.columns;
  return spec.scaling == Scaling::block ? args.block_k : 8 * lanes_of(spec);
}

// ---- the weighted sum -----------------------------------------------------------------------------------------------

struct SumSpec {
  Storage type = Storage::bfloat16;  // of all but biases
  int top_k = 1;

  friend constexpr bool operator==(const SumSpec&, const SumSpec&) = default;
};

struct SumArgs {
  const void* rows = nullptr;  // [rows, columns], what the second product wrote
  long long rows_pitch = 0;
  const void* bias = nullptr;  // [experts, columns]; null: none
  long long bias_pitch = 0;
  Storage bias_type = Storage::float32;
  const float* weights = nullptr;  // [tokens, top_k]; null: all are 1
  long long weights_pitch = 0;
  const int* slot_row = nullptr;
  const int* row_expert = nullptr;
  const void* shared = nullptr;  // [tokens, columns]; null: none
  long long shared_pitch = 0;
  void* out = nullptr;  // [tokens, columns]
  long long out_pitch = 0;
  int tokens = 0;
  int columns = 0;
};
inline constexpr int kSumThreads = 256;

}  // namespace expertile
