#pragma once
// Makes the rows of a product's A: from hidden states, or from what the first product wrote; quantised on the way where
// the product wants it. Lanes share a part of a row, which is what one scale holds for.

#include <ptx.hpp>

#include "kernel_shape.hpp"
#include "layer/sources.hpp"

namespace expertile {

// Over the lanes that share a part, of magnitudes. A whole block's meet in shared memory, [warps] floats, which are
// free again behind the barrier of the next call.
template <int LANES>
EXPERTILE_DEVICE float largest_of_part(unsigned bits) {
  constexpr int kInAWarp = LANES < 32 ? LANES : 32;
  float mine = ptx::float_from_bits(bits);
#pragma unroll
  for (int mask = kInAWarp / 2; mask > 0; mask /= 2) mine = larger(mine, ptx::shuffle_xor(mine, mask));
  if constexpr (LANES > 32) {
    ptx::barrier();
    if (ptx::thread_index() % 32 == 0) ptx::store_shared(4U * (ptx::thread_index() / 32), mine);
    ptx::barrier();
    for (int warp = 0; warp < LANES / 32; ++warp) mine = larger(mine, ptx::load_shared<float>(4U * warp));
  }
  return mine;
}

// To which rows a part goes: a token's to all of its slots', else to one.
template <RowsSpec SPEC>
struct Targets {
  int first = 0;  // slot, or the row itself
  int count = 0;

  EXPERTILE_DEVICE int row(const RowsArgs& args, int i) const {
    if constexpr (SPEC.of == RowsOf::tokens) return ptx::load_global(args.slot_row + first + i);
    return first;
  }
};

// Columns [begin, end) of a row, by LANES lanes.
template <RowsSpec SPEC, class Source>
EXPERTILE_DEVICE void make_part(const RowsArgs& args, const Source& source, const Targets<SPEC>& targets, int begin,
                                int end, int scale_at, int scales_a_row, float scale, int lane) {
  constexpr int kLanes = lanes_of(SPEC);
  constexpr int kStep = 8 * kLanes;
  constexpr bool kMakesScale = SPEC.scaling == Scaling::block || SPEC.scaling == Scaling::per_token_channel;
  const auto count_at = [end](int column) { return end - column < 8 ? end - column : 8; };
  float values[8] = {};
  if constexpr (kMakesScale) {
    unsigned largest = 0;
    for (int column = begin + 8 * lane; column < end; column += kStep) {
      source.load(args, column, count_at(column), values);  // what is not there is 0
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const unsigned bits = magnitude_bits(values[i]);
        if (bits > largest) largest = bits;
      }
    }
    scale = scale_of<SPEC.out>(largest_of_part<kLanes>(largest));
  }
  const Divisor divisor(scale);
  const bool is_loaded = kMakesScale && end - begin <= kStep;  // what was looked at last is all there is
  for (int column = begin + 8 * lane; column < end; column += kStep) {
    if (!is_loaded) source.load(args, column, count_at(column), values);
    if constexpr (size_of(SPEC.out) == 1) {
#pragma unroll
      for (int i = 0; i < 8; ++i) values[i] = divisor.divide(values[i]);
    }
    for (int i = 0; i < targets.count; ++i) {
      const int row = targets.row(args, i);
      if (row >= 0) store_eight<SPEC.out>(args.out, row * args.out_pitch + column, count_at(column), values);
    }
  }
  if (!kMakesScale || lane != 0) return;
  for (int i = 0; i < targets.count; ++i) {
    const int row = targets.row(args, i);
    if (row >= 0) ptx::store_global(args.scales + static_cast<long long>(row) * scales_a_row + scale_at, scale);
  }
}

// Part `part` of source row `index`: a token, or a row. Not kept where another one's lanes make it, too.
template <RowsSpec SPEC>
EXPERTILE_DEVICE void make_part_of(const RowsArgs& args, int index, int part, int parts, int lane, bool is_kept) {
  const int columns = part_columns(SPEC, args);
  const int begin = part * columns;
  const int end = args.columns - begin < columns ? args.columns : begin + columns;
  if constexpr (SPEC.of == RowsOf::tokens) {
    const HiddenState<SPEC> source(args, index, 0);
    make_part<SPEC>(args, source, Targets<SPEC>{index * args.top_k, is_kept ? args.top_k : 0}, begin, end, part, parts,
                    1.0F, lane);
  } else {
    const bool needs_expert = SPEC.of == RowsOf::gate_up || SPEC.scaling == Scaling::per_tensor;
    const int expert = needs_expert ? ptx::load_global(args.row_expert + index) : 0;
    const float scale = SPEC.scaling == Scaling::per_tensor ? ptx::load_global(args.expert_scales + expert) : 1.0F;
    const Targets<SPEC> target{index, is_kept ? 1 : 0};
    if constexpr (SPEC.of == RowsOf::slots) {
      const int slot = ptx::load_global(args.row_slot + index);
      const HiddenState<SPEC> source(args, slot / args.top_k, slot);
      make_part<SPEC>(args, source, target, begin, end, part, parts, scale, lane);
    } else {
      const GatedRow<SPEC> source(args, index, expert);
      make_part<SPEC>(args, source, target, begin, end, part, parts, scale, lane);
    }
  }
}

// One launch makes all rows. Parts are dealt to the grid's lanes in turns: tokens, or as many rows as there are, times
// parts a row, below 2^31.
template <RowsSpec SPEC>
EXPERTILE_DEVICE void make_rows(const RowsArgs& args) {
  ptx::wait_for_work_ahead();
  ptx::let_next_begin();
  constexpr int kLanes = lanes_of(SPEC);
  constexpr unsigned kSharers = kRowsThreads / kLanes;
  const int lane = ptx::thread_index() % kLanes;
  const unsigned parts = static_cast<unsigned>(ceil_divide(args.columns, part_columns(SPEC, args)));
  const unsigned rows = static_cast<unsigned>(
      SPEC.of == RowsOf::tokens ? args.tokens : static_cast<int>(ptx::load_global(args.seg_indptr + args.experts)));
  const unsigned items = rows * parts;
  const unsigned stride = static_cast<unsigned>(ptx::grid_size()) * kSharers;
  unsigned item = static_cast<unsigned>(ptx::block_index()) * kSharers +
                  static_cast<unsigned>(ptx::thread_index()) / static_cast<unsigned>(kLanes);
  // All lanes of a warp go round as often: they shuffle together.
  for (; item - item % kSharers < items; item += stride) {
    const bool is_mine = item < items;
    const unsigned at = is_mine ? item : items - 1;
    make_part_of<SPEC>(args, static_cast<int>(at / parts), static_cast<int>(at % parts), static_cast<int>(parts), lane,
                       is_mine);
  }
}

}  // namespace expertile
