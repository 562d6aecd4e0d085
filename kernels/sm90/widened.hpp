#pragma once
// int8 weights beside 16-bit tokens: from a panel in shared memory to the registers that a warpgroup's product takes
// its 64-row side from.
//
// The tensor core wants of each row, for 16 elements of K, elements 2 * (lane % 4) and the next, and those 8 behind
// them, while the tokens lie in shared memory in the order of K and cannot be read in another. ldmatrix gives a lane 4
// neighbouring bytes instead, and dealing them out within the four lanes of a row takes as many instructions (two byte
// permutations, two shuffles and two selections for two rows) as loading pairs of bytes one by one, and the shuffles
// take shared memory's time as well. So pairs are loaded: for 16 rows and 16 elements of K four loads, free of
// conflicts, since the 8 rows that a load touches have their chunks in 8 different groups of banks; one instruction
// for the address; and to convert, 3 instructions a register to float16, and 4 and the move of a constant to bfloat16.
// That is 17 (25) in all, where the product of COLUMNS tokens keeps the tensor core for COLUMNS / 2 clocks.

#include <ptx90.hpp>

#include "widening.hpp"

namespace expertile::sm90 {

// Where a lane's first pair of the 16 rows from `row` on (a multiple of 8) lies in a panel of weights, for step 0.
EXPERTILE_DEVICE unsigned first_pair(int row, int lane) {
  return static_cast<unsigned>((row + lane / 4) * kSwizzleBytes + lane / 4 * 16 + 2 * (lane % 4));
}

// Two weights in a register's low half to two of the tokens' type.
template <Product PRODUCT>
EXPERTILE_DEVICE unsigned widened_pair(unsigned pair) {
  if constexpr (PRODUCT == Product::int8_float16) {
    return float16x2_from_int8_pair(pair);
  } else {
    return bfloat16x2_from_int8<0>(pair);
  }
}

// x: mma's a of 16 rows of a panel of weights, K from 16 * step on: one 16-byte chunk of each row. from: of the panel,
// plus first_pair. The row 8 below has its chunks at the same offsets.
template <Product PRODUCT>
EXPERTILE_DEVICE void load_widened(unsigned (&x)[4], unsigned from, int step) {
  constexpr int kBelow = 8 * kSwizzleBytes;
  constexpr int kBehind = 8;  // in K
  const unsigned pairs = from ^ static_cast<unsigned>(16 * step);
  x[0] = widened_pair<PRODUCT>(ptx::load_pair<0>(pairs));
  x[1] = widened_pair<PRODUCT>(ptx::load_pair<kBelow>(pairs));
  x[2] = widened_pair<PRODUCT>(ptx::load_pair<kBehind>(pairs));
  x[3] = widened_pair<PRODUCT>(ptx::load_pair<kBelow + kBehind>(pairs));
}

}  // namespace expertile::sm90
