#pragma once
// 8 bits to 16, two elements at a time: for both families.

#include <ptx.hpp>

#include "kernel_spec.hpp"

namespace expertile {

// Two float16 (bfloat16) from bytes 2 * HALF and 2 * HALF + 1 of four int8. int8 + 128 is put into the low mantissa
// bits of a float whose last place is 1, and 128 more than that float is taken off: exact.
template <int HALF>
EXPERTILE_DEVICE unsigned float16x2_from_int8(unsigned bytes) {
  const unsigned biased = bytes ^ 0x80808080U;
  return ptx::subtract_float16x2(ptx::permute_bytes(biased, 0x64646464U, HALF == 0 ? 0x4140U : 0x4342U), 0x64806480U);
}
// Likewise from a pair of int8 in a register's low half, below zeros: the float's upper bits come with the 128, so that
// no second register has to hold them.
EXPERTILE_DEVICE unsigned float16x2_from_int8_pair(unsigned pair) {
  return ptx::subtract_float16x2(ptx::permute_bytes(pair ^ 0x64008080U, 0U, 0x3130U), 0x64806480U);
}
// Two's complement: the low 7 bits less 128 where the sign bit is set. 128 + low bits is a bfloat16 whose last place is
// 1, and the sign bit, put into the same place, makes 256 of 128: all exact.
template <int HALF>
EXPERTILE_DEVICE unsigned bfloat16x2_from_int8(unsigned bytes) {
  const unsigned pair = ptx::permute_bytes(bytes, 0x43434343U, HALF == 0 ? 0x4140U : 0x4342U);  // 0x43bb each
  return ptx::subtract_bfloat16x2(pair & 0xff7fff7fU, pair & 0xff80ff80U);
}
// Two float16 from e4m3, where there is no instruction for it. The exponent's bias is 8 less than float16's, so the
// shifted bits are 2^8 too small. NaN is all ones in both.
template <int HALF>
EXPERTILE_DEVICE unsigned float16x2_from_e4m3_bits(unsigned bytes) {
  const unsigned pair = ptx::permute_bytes(bytes, 0U, HALF == 0 ? 0x1404U : 0x3424U);  // each in a high byte
  const unsigned magnitude = (pair & 0x7f007f00U) >> 1;
  const unsigned scaled = ptx::multiply_float16x2(magnitude, 0x5c005c00U);  // 256
  const unsigned low_nan = (pair & 0x7f00U) == 0x7f00U ? 0x7fffU : 0U;
  const unsigned high_nan = (pair & 0x7f000000U) == 0x7f000000U ? 0x7fff0000U : 0U;
  return scaled | low_nan | high_nan | (pair & 0x80008000U);
}
template <int HALF>
EXPERTILE_DEVICE unsigned float16x2_from_e4m3(unsigned bytes) {
  if constexpr (ptx::kConvertsE4m3) {
    return ptx::float16x2_from_e4m3(static_cast<unsigned short>(bytes >> (16 * HALF)));
  } else {
    return float16x2_from_e4m3_bits<HALF>(bytes);
  }
}

// As the product's other operand has it.
template <Product PRODUCT, int HALF>
EXPERTILE_DEVICE unsigned widened(unsigned bytes) {
  if constexpr (PRODUCT == Product::e4m3) {
    return float16x2_from_e4m3<HALF>(bytes);
  } else if constexpr (PRODUCT == Product::int8_float16) {
    return float16x2_from_int8<HALF>(bytes);
  } else {
    return bfloat16x2_from_int8<HALF>(bytes);
  }
}

}  // namespace expertile
