#pragma once
// Floats to eight bits, and the scales that they are divided by first: the scheme of quantise_rows.

#include <ptx.hpp>

#include "kernel_spec.hpp"

namespace expertile {

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

// To nearest even, saturating at 127; NaN is 0.
EXPERTILE_DEVICE unsigned char int8_bits(float value) {
  const float whole = ptx::round_to_even(value);
  const float kept = whole > 127.0F ? 127.0F : whole < -127.0F ? -127.0F : whole;
  return static_cast<unsigned char>(kept == kept ? static_cast<int>(kept) : 0);
}

// The first to the low byte. S: e4m3 or int8.
template <Storage S>
EXPERTILE_DEVICE unsigned narrowed_four(const float* values) {
  if constexpr (S == Storage::e4m3 && ptx::kConvertsE4m3) {
    return ptx::e4m3x2_bits(values[0], values[1]) | static_cast<unsigned>(ptx::e4m3x2_bits(values[2], values[3])) << 16;
  } else {
    unsigned word = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const unsigned byte = S == Storage::e4m3 ? e4m3_bits(values[i]) : int8_bits(values[i]);
      word |= byte << 8 * i;
    }
    return word;
  }
}

// The larger of two magnitudes; NaN where either is.
EXPERTILE_DEVICE float larger(float a, float b) {
  if (a != a) return a;
  return !(b <= a) ? b : a;
}

// Magnitudes as their bits, which are in the same order, a NaN's above all others.
EXPERTILE_DEVICE unsigned magnitude_bits(float value) { return ptx::bits_of(value) & 0x7fffffffU; }

// Divides by one number many times: what is left of the first quotient is divided once more, and so each quotient that
// is no subnormal is the nearest to the true one (Markstein 1990, for a reciprocal that is). A divisor that is infinite
// gives NaN for 0, which it is multiplied to again.
struct Divisor {
  float value;
  float inverse;
  EXPERTILE_DEVICE explicit Divisor(float by) : value(by), inverse(ptx::divide(1.0F, by)) {}
  EXPERTILE_DEVICE float divide(float a) const {
    const float quotient = a * inverse;
    return ptx::multiply_add(ptx::multiply_add(-quotient, value, a), inverse, quotient);
  }
};

// Of values whose largest magnitude is this. Scales stay normal: a subnormal one would lose the values' precision.
// Zeros keep scale 1.
template <Storage S>
EXPERTILE_DEVICE float scale_of(float largest) {
  const float scale = ptx::divide(largest, S == Storage::e4m3 ? 448.0F : 127.0F);
  if (largest == 0) return 1.0F;
  return scale < 1.17549435e-38F ? 1.17549435e-38F : scale;
}

}  // namespace expertile
