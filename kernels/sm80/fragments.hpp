#pragma once
// Shared memory -> the tensor core's operands.
//
// A stage holds rows of BLOCK_SIZE_K elements. Their 16-byte chunks are permuted within each row (swizzle), so that the
// 8 rows that ldmatrix reads at once lie in 8 different groups of banks.
//
// Where an 8-bit operand is widened to 16 bits, the 4 bytes that ldmatrix gives a lane become two registers. That deals
// the elements of K to the tensor core's slots in another order than in memory; the 16-bit operand beside it is read in
// the same order (8 bytes a lane), and a sum over K does not mind the order.

#include <ptx.hpp>

#include "kernel_shape.hpp"
#include "tf32.hpp"
#include "widening.hpp"

namespace expertile::sm80 {

// Byte offset of a 16-byte chunk in a tile whose rows have ROW_BYTES (32, 64, 128, 256, ...).
template <int ROW_BYTES>
EXPERTILE_DEVICE unsigned swizzled(int row, int chunk) {
  constexpr int kChunks = ROW_BYTES / 16;
  constexpr int kRowsPerLine = ROW_BYTES >= 128 ? 1 : 128 / ROW_BYTES;  // rows that share the 128 bytes of all banks
  constexpr int kMask = (kChunks < 8 ? kChunks : 8) - 1;
  return static_cast<unsigned>(row * ROW_BYTES + ((chunk ^ ((row / kRowsPerLine) & kMask)) * 16));
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

// The loaded words as the tensor core's operands. Registers 0 to 3 of x: rows 0-7 and 8-15 of the first half of the
// step, then of the second.
template <Product PRODUCT, Storage STORAGE>
EXPERTILE_DEVICE void operands_x(unsigned (&x)[operand_fragments(PRODUCT)][4],
                                 const unsigned (&words)[fragment_words(PRODUCT, STORAGE)]) {
  if constexpr (PRODUCT == Product::tf32x3) {
    for (int j = 0; j < 4; ++j) {
      const Tf32Terms terms = tf32_terms(words[j]);
      x[0][j] = terms.large;
      x[1][j] = terms.small;
    }
  } else if constexpr (PRODUCT == Product::tf32) {
    for (int j = 0; j < 4; ++j) x[0][j] = tf32_bits(words[j]);
  } else if constexpr (reading(PRODUCT, STORAGE) == Reading::widened) {
    for (int i = 0; i < 2; ++i) {
      x[i][0] = widened<PRODUCT, 0>(words[2 * i]);
      x[i][1] = widened<PRODUCT, 0>(words[2 * i + 1]);
      x[i][2] = widened<PRODUCT, 1>(words[2 * i]);
      x[i][3] = widened<PRODUCT, 1>(words[2 * i + 1]);
    }
  } else {
    for (int i = 0; i < operand_fragments(PRODUCT); ++i) {
      for (int j = 0; j < 4; ++j) x[i][j] = words[4 * i + j];
    }
  }
}
// block: 0 or 1, which of the two blocks of 8 rows that were loaded.
template <Product PRODUCT, Storage STORAGE>
EXPERTILE_DEVICE void operands_y(unsigned (&y)[operand_fragments(PRODUCT)][2],
                                 const unsigned (&words)[fragment_words(PRODUCT, STORAGE)], int block) {
  if constexpr (PRODUCT == Product::tf32x3) {
    for (int j = 0; j < 2; ++j) {
      const Tf32Terms terms = tf32_terms(words[2 * block + j]);
      y[0][j] = terms.large;
      y[1][j] = terms.small;
    }
  } else if constexpr (PRODUCT == Product::tf32) {
    for (int j = 0; j < 2; ++j) y[0][j] = tf32_bits(words[2 * block + j]);
  } else if constexpr (reading(PRODUCT, STORAGE) == Reading::widened) {
    for (int i = 0; i < 2; ++i) {
      y[i][0] = widened<PRODUCT, 0>(words[2 * block + i]);
      y[i][1] = widened<PRODUCT, 1>(words[2 * block + i]);
    }
  } else if constexpr (reading(PRODUCT, STORAGE) == Reading::permuted) {
    for (int i = 0; i < 2; ++i) {
      for (int j = 0; j < 2; ++j) y[i][j] = words[4 * block + 2 * i + j];
    }
  } else {
    for (int j = 0; j < 2; ++j) y[0][j] = words[2 * block + j];
  }
}

// d [16, 8] += x [16, step] * y [8, step]^T, one operation.
template <Product PRODUCT, class Accumulator>
EXPERTILE_DEVICE void multiply(Accumulator (&d)[4], const unsigned (&x)[4], const unsigned (&y)[2]) {
  if constexpr (PRODUCT == Product::int8) {
    ptx::mma_int8(d, x, y);
  } else if constexpr (PRODUCT == Product::bfloat16 || PRODUCT == Product::int8_bfloat16) {
    ptx::mma_bfloat16(d, x, y);
  } else if constexpr (PRODUCT == Product::tf32 || PRODUCT == Product::tf32x3) {
    ptx::mma_tf32(d, x, y);
  } else {
    ptx::mma_float16(d, x, y);
  }
}

// The same with all fragments of the operands.
template <Product PRODUCT, class Accumulator>
EXPERTILE_DEVICE void multiply_all(Accumulator (&d)[4], const unsigned (&x)[operand_fragments(PRODUCT)][4],
                                   const unsigned (&y)[operand_fragments(PRODUCT)][2]) {
  if constexpr (PRODUCT == Product::tf32x3) {
    multiply<PRODUCT>(d, x[1], y[0]);  // small terms first: they would be lost behind the large ones
    multiply<PRODUCT>(d, x[0], y[1]);
    multiply<PRODUCT>(d, x[0], y[0]);
  } else {
    for (int i = 0; i < operand_fragments(PRODUCT); ++i) multiply<PRODUCT>(d, x[i], y[i]);
  }
}

}  // namespace expertile::sm80
