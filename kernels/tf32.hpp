#pragma once
// float32 as the tensor core's tf32, which has 10 bits of mantissa, and as the sum of two of them.

#include <ptx.hpp>

namespace expertile {

// To tf32, 10 bits of mantissa: to nearest, ties away from zero. Integer arithmetic is many times faster than the
// conversion instruction. What is too large to be rounded up, infinities and NaN stay as they are; the tensor core
// itself ignores the bits behind tf32's.
EXPERTILE_DEVICE bool can_round_to_tf32(unsigned bits) { return (bits & 0x7fffffffU) < 0x7f7ff000U; }
EXPERTILE_DEVICE unsigned tf32_bits(unsigned bits) { return can_round_to_tf32(bits) ? bits + 0x1000U : bits; }

// Two terms whose sum a value is: what tf32 holds of it, and the rest, itself ready for the tensor core.
struct Tf32Terms {
  unsigned large;
  unsigned small;
};
EXPERTILE_DEVICE Tf32Terms tf32_terms(unsigned bits) {
  if (!can_round_to_tf32(bits)) return {bits, 0U};
  const unsigned large = (bits + 0x1000U) & 0xffffe000U;
  const float rest = ptx::float_from_bits(bits) - ptx::float_from_bits(large);  // exact
  return {large, ptx::bits_of(rest) + 0x1000U};
}

// What the tensor core cuts off a value that it reads as it lies, itself ready for it. Infinities and NaN leave
// nothing.
EXPERTILE_DEVICE unsigned tf32_residual(unsigned bits) {
  const unsigned cut = bits & 0xffffe000U;
  const float rest = ptx::float_from_bits(bits) - ptx::float_from_bits(cut);  // exact
  return (bits & 0x7f800000U) == 0x7f800000U ? 0U : ptx::bits_of(rest) + 0x1000U;
}

}  // namespace expertile
