#pragma once
// A token's output: the rows of its slots, times the router's weights, added in the order of the slots in float32.

#include <ptx.hpp>

#include "kernel_shape.hpp"
#include "layer/eight.hpp"
#include "layer/layer_spec.hpp"

namespace expertile {

// Slots whose rows are on their way from memory at the same time.
inline constexpr int kSlotsAtOnce = 8;

// Eight columns of a token's slots [first, first + COUNT) are added to `sums`: all rows are asked for before the first
// is used.
template <SumSpec SPEC, int COUNT>
EXPERTILE_DEVICE void add_some(const SumArgs& args, int token, int first, int column, int count, float (&sums)[8]) {
  int rows[COUNT];
  float values[COUNT][8];
#pragma unroll
  for (int i = 0; i < COUNT; ++i) rows[i] = ptx::load_global(args.slot_row + token * SPEC.top_k + first + i);
#pragma unroll
  for (int i = 0; i < COUNT; ++i) {
    if (rows[i] >= 0) load_eight<SPEC.type>(args.rows, rows[i] * args.rows_pitch + column, count, values[i]);
  }
#pragma unroll
  for (int i = 0; i < COUNT; ++i) {
    if (rows[i] < 0) continue;
    if (args.bias != nullptr) {
      float bias[8];
      const int expert = ptx::load_global(args.row_expert + rows[i]);
      load_eight(args.bias_type, args.bias, expert * args.bias_pitch + column, count, bias);
#pragma unroll
      for (int j = 0; j < 8; ++j) values[i][j] += bias[j];
    }
    const float weight =
        args.weights != nullptr ? ptx::load_global(args.weights + token * args.weights_pitch + first + i) : 1.0F;
#pragma unroll
    for (int j = 0; j < 8; ++j) sums[j] += weight * values[i][j];
  }
}

// Eight columns of a token.
template <SumSpec SPEC>
EXPERTILE_DEVICE void add_slots(const SumArgs& args, int token, int column) {
  constexpr int kAtOnce = SPEC.top_k < kSlotsAtOnce ? SPEC.top_k : kSlotsAtOnce;
  constexpr int kRest = SPEC.top_k % kAtOnce;
  const int count = args.columns - column < 8 ? args.columns - column : 8;
  float sums[8] = {};
  if (args.shared != nullptr) load_eight<SPEC.type>(args.shared, token * args.shared_pitch + column, count, sums);
#pragma unroll
  for (int first = 0; first + kAtOnce <= SPEC.top_k; first += kAtOnce) {
    add_some<SPEC, kAtOnce>(args, token, first, column, count, sums);
  }
  if constexpr (kRest > 0) add_some<SPEC, kRest>(args, token, SPEC.top_k - kRest, column, count, sums);
  store_eight<SPEC.type>(args.out, token * args.out_pitch + column, count, sums);
}

template <SumSpec SPEC>
EXPERTILE_DEVICE void weighted_sum(const SumArgs& args) {
  ptx::wait_for_work_ahead();
  ptx::let_next_begin();
  const unsigned parts = static_cast<unsigned>(ceil_divide(args.columns, 8));
  const unsigned items = static_cast<unsigned>(args.tokens) * parts;
  const unsigned stride = static_cast<unsigned>(ptx::grid_size() * kSumThreads);
  for (unsigned item = static_cast<unsigned>(ptx::block_index() * kSumThreads + ptx::thread_index()); item < items;
       item += stride) {
    add_slots<SPEC>(args, static_cast<int>(item / parts), static_cast<int>(item % parts) * 8);
  }
}

}  // namespace expertile
