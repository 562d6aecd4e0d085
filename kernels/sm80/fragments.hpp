#pragma once
// Shared memory -> the tensor core's operands.
//
// A stage holds rows of BLOCK_SIZE_K elements. Their 16-byte chunks are permuted within each row (swizzle), so that the
// 8 rows that ldmatrix reads at once lie in 8 different groups of banks.
//
// Where an 8-bit operand is widened to 16 bits, the 4 bytes that ldmatrix gives a lane become two registers. That deals
// the elements of K to the tensor core's slots in another order than in memory; the 16-bit operand beside it is read in
// the same order (8 bytes a lane), and a sum over K does not mind the order.

#include "kernel_spec.hpp"
#include <ptx.hpp>

namespace expertile::sm80 {

// Byte offset of a 16-byte chunk in a tile whose rows have ROW_BYTES (32, 64, 128, 256, ...).
template <int ROW_BYTES>
EXPERTILE_DEVICE unsigned swizzled(int row, int chunk) {
  constexpr int kChunks = ROW_BYTES / 16;
  constexpr int kRowsALine = ROW_BYTES >= 128 ? 1 : 128 / ROW_BYTES;  // rows that share the 128 bytes of all banks
  constexpr int kMask = (kChunks < 8 ? kChunks : 8) - 1;
  return static_cast<unsigned>(row * ROW_BYTES + ((chunk ^ ((row / kRowsALine) & kMask)) * 16));
}

// Two float16 (bfloat16) from bytes 2 * HALF and 2 * HALF + 1 of four int8. int8 + 128 is put into the low mantissa
// bits of a float whose last place is 1, and 128 more than that float is taken off: exact.
template <int HALF>
EXPERTILE_DEVICE unsigned float16x2_from_int8(unsigned bytes) {
  const unsigned biased = bytes ^ 0x80808080U;
  return ptx::subtract_float16x2(ptx::permute_bytes(biased, 0x64646464U, HALF == 0 ? 0x4140U : 0x4342U), 0x64806480U);
}
// Two's complement: the low 7 bits less 128 where the sign bit is set. 128 + low bits is a bfloat16 whose last place is 1,
// and the sign bit, put into the same place, makes 256 of 128: all exact.
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

// The 8 bytes of a permuted row that product `i` of a step takes: words of slots 0 and 1.
template <int ROW_BYTES>
EXPERTILE_DEVICE ptx::Bytes8 load_permuted(unsigned tile, int row, int step, int i, int lane) {
  const int byte = (32 * step + 16 * i + 4 * (lane % 4)) * 2;
  return ptx::load_shared<ptx::Bytes8>(tile + swizzled<ROW_BYTES>(row, byte / 16) + static_cast<unsigned>(byte % 16));
}

// 16 rows of X, one step of K.
template <Product PRODUCT, Storage STORAGE, int ROW_BYTES>
EXPERTILE_DEVICE void load_x(unsigned (&words)[fragment_words(PRODUCT, STORAGE)], unsigned tile, int row, int step,
                             int lane) {
  if constexpr (reading(PRODUCT, STORAGE) == Reading::permuted) {
    for (int i = 0; i < 2; ++i) {
      for (int half = 0; half < 2; ++half) {  // rows lane / 4 and lane / 4 + 8
        const auto pair = load_permuted<ROW_BYTES>(tile, row + lane / 4 + 8 * half, step, i, lane);
        words[4 * i + half] = pair.word[0];
        words[4 * i + half + 2] = pair.word[1];
      }
    }
  } else {
    // rows 0-7 and 8-15 of the first 16 bytes, then of the second
    ptx::ldmatrix4(words, tile + swizzled<ROW_BYTES>(row + lane % 16, 2 * step + lane / 16));
  }
}

// BLOCKS (1 or 2) times 8 rows of Y, one step of K. ldmatrix always loads two: the first twice where there is one.
template <Product PRODUCT, Storage STORAGE, int ROW_BYTES, int BLOCKS>
EXPERTILE_DEVICE void load_y(unsigned (&words)[fragment_words(PRODUCT, STORAGE)], unsigned tile, int row, int step,
                             int lane) {
  if constexpr (reading(PRODUCT, STORAGE) == Reading::permuted) {
    for (int block = 0; block < BLOCKS; ++block) {
      for (int i = 0; i < 2; ++i) {
        const auto pair = load_permuted<ROW_BYTES>(tile, row + 8 * block + lane / 4, step, i, lane);
        words[4 * block + 2 * i] = pair.word[0];
        words[4 * block + 2 * i + 1] = pair.word[1];
      }
    }
  } else {
    // first and second 16 bytes of the first block, then of the second
    const int block = BLOCKS == 2 ? lane / 16 : 0;
    ptx::ldmatrix4(words, tile + swizzled<ROW_BYTES>(row + 8 * block + lane % 8, 2 * step + lane / 8 % 2));
  }
}

// The loaded words as the tensor core's operands.
template <Product PRODUCT, Storage STORAGE>
EXPERTILE_DEVICE void operands_x(unsigned (&x)[products_a_step(PRODUCT)][4],
                                 const unsigned (&words)[fragment_words(PRODUCT, STORAGE)]) {
  for (int i = 0; i < products_a_step(PRODUCT); ++i) {
    if constexpr (reading(PRODUCT, STORAGE) == Reading::widened) {
      x[i][0] = widened<PRODUCT, 0>(words[2 * i]);
      x[i][1] = widened<PRODUCT, 0>(words[2 * i + 1]);
      x[i][2] = widened<PRODUCT, 1>(words[2 * i]);
      x[i][3] = widened<PRODUCT, 1>(words[2 * i + 1]);
    } else {
      for (int j = 0; j < 4; ++j) x[i][j] = words[4 * i + j];
    }
  }
}
template <Product PRODUCT, Storage STORAGE>
EXPERTILE_DEVICE void operands_y(unsigned (&y)[products_a_step(PRODUCT)][2],
                                 const unsigned (&words)[fragment_words(PRODUCT, STORAGE)], int block) {
  for (int i = 0; i < products_a_step(PRODUCT); ++i) {
    if constexpr (reading(PRODUCT, STORAGE) == Reading::widened) {
      y[i][0] = widened<PRODUCT, 0>(words[2 * block + i]);
      y[i][1] = widened<PRODUCT, 1>(words[2 * block + i]);
    } else if constexpr (reading(PRODUCT, STORAGE) == Reading::permuted) {
      for (int j = 0; j < 2; ++j) y[i][j] = words[4 * block + 2 * i + j];
    } else {
      for (int j = 0; j < 2; ++j) y[i][j] = words[2 * block + j];
    }
  }
}

// The part of x that tf32 leaves over, as tf32. Nothing is left of infinities and NaN.
EXPERTILE_DEVICE unsigned tf32_rest(unsigned x, unsigned big) {
  const float value = ptx::float_from_bits(x);
  const bool is_finite = (x & 0x7f800000U) != 0x7f800000U;
  return is_finite ? ptx::tf32_bits(value - ptx::float_from_bits(big)) : 0U;
}

// d [16, 8] += x [16, step] * y [8, step]^T
template <Product PRODUCT, class Accumulator>
EXPERTILE_DEVICE void multiply(Accumulator (&d)[4], const unsigned (&x)[4], const unsigned (&y)[2]) {
  if constexpr (PRODUCT == Product::int8) {
    ptx::mma_int8(d, x, y);
  } else if constexpr (PRODUCT == Product::bfloat16 || PRODUCT == Product::int8_bfloat16) {
    ptx::mma_bfloat16(d, x, y);
  } else if constexpr (PRODUCT == Product::tf32 || PRODUCT == Product::tf32x3) {
    unsigned big_x[4];
    unsigned big_y[2];
    for (int i = 0; i < 4; ++i) big_x[i] = ptx::tf32_bits(ptx::float_from_bits(x[i]));
    for (int i = 0; i < 2; ++i) big_y[i] = ptx::tf32_bits(ptx::float_from_bits(y[i]));
    if constexpr (PRODUCT == Product::tf32x3) {
      unsigned small_x[4];
      unsigned small_y[2];
      for (int i = 0; i < 4; ++i) small_x[i] = tf32_rest(x[i], big_x[i]);
      for (int i = 0; i < 2; ++i) small_y[i] = tf32_rest(y[i], big_y[i]);
      ptx::mma_tf32(d, small_x, big_y);  // small terms first: they would be lost behind the large ones
      ptx::mma_tf32(d, big_x, small_y);
    }
    ptx::mma_tf32(d, big_x, big_y);
  } else {
    ptx::mma_float16(d, x, y);
  }
}

}  // namespace expertile::sm80
