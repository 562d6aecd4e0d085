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
template <int HALF>
EXPERTILE_DEVICE unsigned bfloat16x2_from_int8(unsigned bytes) {
  const unsigned biased = bytes ^ 0x80808080U;
  constexpr unsigned kMagic = 0x4b000000U;  // 2^23
  constexpr float kBias = 8388736.0F;       // 2^23 + 128
  const float first = ptx::float_from_bits(ptx::permute_bytes(biased, kMagic, 0x7650U + 2 * HALF)) - kBias;
  const float second = ptx::float_from_bits(ptx::permute_bytes(biased, kMagic, 0x7651U + 2 * HALF)) - kBias;
  return ptx::permute_bytes(ptx::bits_of(first), ptx::bits_of(second), 0x7632U);  // at most 8 bits: exact
}
// Two float16 from e4m3: the exponent's bias is 8 less than float16's, so the shifted bits are 2^8 too small. NaN is
// all ones in both.
template <int HALF>
EXPERTILE_DEVICE unsigned float16x2_from_e4m3(unsigned bytes) {
  const unsigned pair = ptx::permute_bytes(bytes, 0U, HALF == 0 ? 0x1404U : 0x3424U);  // each in a high byte
  const unsigned magnitude = (pair & 0x7f007f00U) >> 1;
  const unsigned scaled = ptx::multiply_float16x2(magnitude, 0x5c005c00U);  // 256
  const unsigned low_nan = (pair & 0x7f00U) == 0x7f00U ? 0x7fffU : 0U;
  const unsigned high_nan = (pair & 0x7f000000U) == 0x7f000000U ? 0x7fff0000U : 0U;
  return scaled | low_nan | high_nan | (pair & 0x80008000U);
}

template <Product PRODUCT, int HALF>
EXPERTILE_DEVICE unsigned widened(unsigned bytes) {
  if constexpr (PRODUCT == Product::e4m3_widened) {
    return float16x2_from_e4m3<HALF>(bytes);
  } else if constexpr (PRODUCT == Product::int8_float16) {
    return float16x2_from_int8<HALF>(bytes);
  } else {
    return bfloat16x2_from_int8<HALF>(bytes);
  }
}

// How an operand comes out of shared memory.
enum class Reading : int {
  plain,     // as it lies
  widened,   // 8 bits to 16
  permuted,  // 16 bits, in the order of a widened operand beside it
};
constexpr Reading reading(Product product, Storage storage) {
  if (product == Product::e4m3_widened) return Reading::widened;
  if (product != Product::int8_float16 && product != Product::int8_bfloat16) return Reading::plain;
  return storage == Storage::int8 ? Reading::widened : Reading::permuted;
}

// Tensor core operations a step.
constexpr int products_a_step(Product product) {
  const bool is_widened =
      product == Product::e4m3_widened || product == Product::int8_float16 || product == Product::int8_bfloat16;
  return is_widened ? 2 : 1;
}

// 16 rows of X, one step of K.
template <Product PRODUCT, Storage STORAGE, int ROW_BYTES>
EXPERTILE_DEVICE void load_x(unsigned (&x)[products_a_step(PRODUCT)][4], unsigned tile, int row, int step, int lane) {
  constexpr Reading kReading = reading(PRODUCT, STORAGE);
  if constexpr (kReading == Reading::permuted) {
    for (int i = 0; i < 2; ++i) {
      const int byte = (32 * step + 16 * i + 4 * (lane % 4)) * 2;
      for (int half = 0; half < 2; ++half) {  // rows lane / 4 and lane / 4 + 8
        const auto pair = ptx::load_shared<ptx::Bytes8>(
            tile + swizzled<ROW_BYTES>(row + lane / 4 + 8 * half, byte / 16) + static_cast<unsigned>(byte % 16));
        x[i][half] = pair.word[0];
        x[i][half + 2] = pair.word[1];
      }
    }
  } else {
    unsigned r[4];  // rows 0-7 and 8-15 of the first 16 bytes, then of the second
    ptx::ldmatrix4(r, tile + swizzled<ROW_BYTES>(row + lane % 16, 2 * step + lane / 16));
    if constexpr (kReading == Reading::plain) {
      for (int i = 0; i < 4; ++i) x[0][i] = r[i];
    } else {
      for (int i = 0; i < 2; ++i) {
        x[i][0] = widened<PRODUCT, 0>(r[2 * i]);
        x[i][1] = widened<PRODUCT, 0>(r[2 * i + 1]);
        x[i][2] = widened<PRODUCT, 1>(r[2 * i]);
        x[i][3] = widened<PRODUCT, 1>(r[2 * i + 1]);
      }
    }
  }
}

// Two blocks of 8 rows of Y, one step of K; the second is the first again where BLOCKS is 1.
template <Product PRODUCT, Storage STORAGE, int ROW_BYTES, int BLOCKS>
EXPERTILE_DEVICE void load_y(unsigned (&y)[2][products_a_step(PRODUCT)][2], unsigned tile, int row, int step,
                             int lane) {
  constexpr Reading kReading = reading(PRODUCT, STORAGE);
  if constexpr (kReading == Reading::permuted) {
    for (int block = 0; block < BLOCKS; ++block) {
      for (int i = 0; i < 2; ++i) {
        const int byte = (32 * step + 16 * i + 4 * (lane % 4)) * 2;
        const auto pair = ptx::load_shared<ptx::Bytes8>(
            tile + swizzled<ROW_BYTES>(row + 8 * block + lane / 4, byte / 16) + static_cast<unsigned>(byte % 16));
        y[block][i][0] = pair.word[0];
        y[block][i][1] = pair.word[1];
      }
    }
  } else {
    unsigned r[4];  // first and second 16 bytes of the first block, then of the second
    const int block = BLOCKS == 2 ? lane / 16 : 0;
    ptx::ldmatrix4(r, tile + swizzled<ROW_BYTES>(row + 8 * block + lane % 8, 2 * step + lane / 8 % 2));
    for (int b = 0; b < BLOCKS; ++b) {
      for (int i = 0; i < 2; ++i) {
        if constexpr (kReading == Reading::plain) {
          y[b][0][i] = r[2 * b + i];
        } else {
          y[b][i][0] = widened<PRODUCT, 0>(r[2 * b + i]);
          y[b][i][1] = widened<PRODUCT, 1>(r[2 * b + i]);
        }
      }
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
  } else if constexpr (PRODUCT == Product::e4m3) {
    ptx::mma_e4m3(d, x, y);
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
