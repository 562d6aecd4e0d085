#pragma once
// Quantises A on the fly: float16, bfloat16 or float32 to e4m3 with one float32 scale a row and block_k of K. A warp
// takes one row's block after the other.

#include <ptx.hpp>

#include "kernel_shape.hpp"
#include "scheduler.hpp"

namespace expertile {

template <Storage A>
EXPERTILE_DEVICE float load_float(const void* a, long long index) {
  if constexpr (A == Storage::float16) {
    return ptx::float_from_float16(ptx::load_global(static_cast<const unsigned short*>(a) + index));
  } else if constexpr (A == Storage::bfloat16) {
    const unsigned bits = ptx::load_global(static_cast<const unsigned short*>(a) + index);
    return ptx::float_from_bits(bits << 16);
  } else {
    return ptx::load_global(static_cast<const float*>(a) + index);
  }
}

// To nearest even, saturating at 448; NaN is kept.
EXPERTILE_DEVICE unsigned char e4m3_bits(float value) {
  const unsigned bits = ptx::bits_of(value);
  const unsigned sign = bits >> 24 & 0x80U;
  const unsigned magnitude = bits & 0x7fffffffU;
  unsigned result = 0x7eU;  // 448
  if (magnitude > 0x7f800000U) {
    result = 0x7fU;
  } else if (magnitude < 0x3c800000U) {  // below 2^-6: subnormal, in steps of 2^-9
    result = static_cast<unsigned>(ptx::round_to_even(ptx::float_from_bits(magnitude) * 512.0F));
  } else if (magnitude < 0x43e80000U) {  // below 464, from where nearest would be past 448
    const unsigned rounded = (magnitude + 0x7ffffU + (magnitude >> 20 & 1U)) >> 20;  // 3 bits of mantissa
    result = rounded - (127U - 7U) * 8U;
  }
  return static_cast<unsigned char>(result | sign);
}

// The larger of two magnitudes; NaN where either is.
EXPERTILE_DEVICE float larger(float a, float b) {
  if (a != a) return a;
  return !(b <= a) ? b : a;
}

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
  // Scales stay normal: a subnormal one would lose the block's precision. A block of zeros keeps scale 1.
  float scale = ptx::divide(largest, 448.0F);
  if (scale < 1.17549435e-38F) scale = 1.17549435e-38F;
  if (largest == 0) scale = 1.0F;
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
