#pragma once
// A token's output: the rows of its slots, times the router's weights, added in the order of the slots in float32.

#include <ptx.hpp>

#include "kernel_shape.hpp"
#include "layer/eight.hpp"
#include "layer/layer_spec.hpp"

namespace expertile {

// Eight columns of a token.
template <SumSpec SPEC>
EXPERTILE_DEVICE void add_slots(const SumArgs& args, int token, int column) {
  const int count = args.columns - column < 8 ? args.columns - column : 8;
  float sums[8] = {};
  if (args.shared != nullptr) load_eight<SPEC.type>(args.shared, token * args.shared_pitch + column, count, sums);
#pragma unroll
  for (int slot = 0; slot < SPEC.top_k; ++slot) {
    const int row = ptx::load_global(args.slot_row + token * SPEC.top_k + slot);
    if (row < 0) continue;
    float values[8];
    load_eight<SPEC.type>(args.rows, row * args.rows_pitch + column, count, values);
    if (args.bias != nullptr) {
      float bias[8];
      const int expert = ptx::load_global(args.row_expert + row);
      load_eight(args.bias_type, args.bias, expert * args.bias_pitch + column, count, bias);
#pragma unroll
      for (int i = 0; i < 8; ++i) values[i] += bias[i];
    }
    const float weight =
        args.weights != nullptr ? ptx::load_global(args.weights + token * args.weights_pitch + slot) : 1.0F;
#pragma unroll
    for (int i = 0; i < 8; ++i) sums[i] += weight * values[i];
  }
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
