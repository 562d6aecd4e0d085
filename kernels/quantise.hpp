#pragma once
// Quantises A on the fly: float16, bfloat16 or float32 to e4m3 with one float32 scale a row and block_k of K. A warp
// takes one row's block after the other.

#include <ptx.hpp>

#include "kernel_shape.hpp"
#include "layer/eight.hpp"
#include "scheduler.hpp"

namespace expertile {

template <Storage A>
EXPERTILE_DEVICE void quantise_block(const QuantiseArgs& args, long long row, int block, int blocks, int lane) {
  const int begin = block * args.block_k;
  const int end = args.k - begin < args.block_k ? args.k : begin + args.block_k;
  float largest = 0;
  for (int k = begin + lane; k < end; k += 32) {
    const float value = load_float<A>(args.a, row * args.a_pitch + k);
    largest = larger(largest, value < 0 ? -value : value);
  }
  for (int mask = 16; mask > 0; mask /= 2) largest = larger(largest, ptx::shuffle_xor(largest, mask));
  const float scale = scale_of<Storage::e4m3>(largest);
  for (int k = begin + lane; k < end; k += 32) {
    const float value = load_float<A>(args.a, row * args.a_pitch + k);
    ptx::store_global(args.out + row * args.k + k, e4m3_bits(ptx::divide(value, scale)));
  }
  if (lane == 0) ptx::store_global(args.scales + row * blocks + block, scale);
}

template <Storage A>
EXPERTILE_DEVICE void quantise_rows(const QuantiseArgs& args) {
  ptx::wait_for_work_ahead();
  ptx::let_next_begin();
  constexpr int kWarps = kQuantiseThreads / 32;
  const int blocks = ceil_divide(args.k, args.block_k);
  const long long items = args.rows * blocks;
  const long long stride = static_cast<long long>(ptx::grid_size()) * kWarps;
  long long item = static_cast<long long>(ptx::block_index()) * kWarps + ptx::thread_index() / 32;
  for (; item < items; item += stride) {
    quantise_block<A>(args, item / blocks, static_cast<int>(item % blocks), blocks, ptx::thread_index() % 32);
  }
}

// Where rows are masked: the same of those that are there. The others are neither read nor written.
template <Storage A>
EXPERTILE_DEVICE void quantise_masked_rows(const QuantiseArgs& args) {
  ptx::wait_for_work_ahead();
  ptx::let_next_begin();
  constexpr int kWarps = kQuantiseThreads / 32;
  const int lane = ptx::thread_index() % 32;
  const int blocks = ceil_divide(args.k, args.block_k);
  const long long stride = static_cast<long long>(ptx::grid_size()) * kWarps;
  // The next one of this warp's, counted from the group's first.
  long long item = static_cast<long long>(ptx::block_index()) * kWarps + ptx::thread_index() / 32;
  for (int first = 0; first < args.groups; first += 32) {
    const int mine = first + lane < args.groups ? masked_rows(args.masked_m, args.max_m, first + lane) : 0;
    for (int other = 0; other < 32 && first + other < args.groups; ++other) {
      const long long items = static_cast<long long>(ptx::shuffle(mine, other)) * blocks;
      const long long row = static_cast<long long>(first + other) * args.max_m;
      for (; item < items; item += stride) {
        quantise_block<A>(args, row + item / blocks, static_cast<int>(item % blocks), blocks, lane);
      }
      item -= items;
    }
  }
}

}  // namespace expertile
