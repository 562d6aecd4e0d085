#pragma once
// Sums -> C: applies the scales that are constant along K, rounds, and writes rows of the group and columns below N
// only. A lane's sums are not neighbours in C, so 16-bit elements go through a slab of shared memory that the warp has
// for itself: no barrier of more than the warp, so that it writes while others multiply. Of a tile whose K several
// blocks have multiplied, each writes the part that it has added up.

#include "sm90/exchange.hpp"

namespace expertile::sm90 {

// A place in C, and how many elements of its row there are to write from it on: none where the row is not the group's.
struct Spot {
  unsigned char* to = nullptr;
  int left = 0;
  int left_wide = 0;  // likewise, by wide stores
};
// column: of the tile.
template <Storage C>
EXPERTILE_DEVICE Spot spot_at(const KernelArgs& args, const OutputTile& tile, int row, int column) {
  Spot spot;
  spot.to = static_cast<unsigned char*>(args.c) + ((tile.row + row) * args.c_pitch + tile.column + column) * size_of(C);
  spot.left = row < tile.rows ? args.n - tile.column - column : 0;
  spot.left_wide = args.wide_stores != 0 ? spot.left : 0;
  return spot;
}

// Neighbouring elements of C, from the spot on.
template <Storage C, int WORDS>
EXPERTILE_DEVICE void write_words(const Spot& spot, const unsigned (&word)[WORDS]) {
  constexpr int kElements = 4 * WORDS / size_of(C);
  unsigned char* const to = spot.to;
  if (spot.left_wide >= kElements) {
    if constexpr (WORDS == 4) {
      ptx::store_global(reinterpret_cast<ptx::Bytes16*>(to), ptx::Bytes16{{word[0], word[1], word[2], word[3]}});
    } else if constexpr (WORDS == 2) {
      ptx::store_global(reinterpret_cast<ptx::Bytes8*>(to), ptx::Bytes8{{word[0], word[1]}});
    } else {
      ptx::store_global(reinterpret_cast<unsigned*>(to), word[0]);
    }
    return;
  }
  if (spot.left <= 0) return;
#pragma unroll
  for (int e = 0; e < kElements; ++e) {  // a fixed count keeps the words in registers
    if (e >= spot.left) continue;
    if constexpr (size_of(C) == 2) {
      ptx::store_global(reinterpret_cast<unsigned short*>(to) + e,
                        static_cast<unsigned short>(word[e / 2] >> (e % 2 * 16)));
    } else {
      ptx::store_global(reinterpret_cast<unsigned*>(to) + e, word[e]);
    }
  }
}

// The scales of the rows of X that a lane has sums of: tokens, or, swapped, columns of C.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void load_factors(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                   float (&factor)[2 * Shape<SPEC>::kX]) {
#pragma unroll
  for (int r = 0; r < 2 * Shape<SPEC>::kX; ++r) {
    const int x = warp.x + 64 * (r / 2) + 8 * (r % 2) + warp.lane / 4;
    if constexpr (Shape<SPEC>::kSwapped) {
      factor[r] = column_scale<SPEC.scaling>(args, tile, x);
    } else {
      factor[r] = row_scale<SPEC.scaling>(args, tile, x);
    }
  }
}

// ---- C of 16 bits: through the warp's slab ------------------------------------------------------------------------

// Tokens on the 64-row side. The slab: 16 rows of C of 64 columns, whose chunks of 16 bytes are permuted by the row, so
// that neither the matrices' rows nor the lanes that read meet in a bank.
template <KernelSpec SPEC, Storage C, class Total>
EXPERTILE_DEVICE void write_straight(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                     const Total& total) {
  using S = Shape<SPEC>;
  static_assert(S::kY % 4 == 0, "BLOCK_SIZE_N is a multiple of 32");
  constexpr int kTogether = S::kParts == 1 ? 8 : written_together(SPEC.tile);  // blocks of 8 columns
  const int matrix = warp.lane / 8;  // of four: 8 rows, the 8 below, and the same of the next 8 columns
  const int matrix_row = warp.lane % 8;
  const unsigned to = warp.slab + static_cast<unsigned>(128 * (8 * (matrix % 2) + matrix_row));
  const int row = warp.lane / 8;  // and every fourth below: what a lane writes
  const int chunk = warp.lane % 8;
#pragma unroll
  for (int n = 0; n < S::kY; n += kTogether) {
    if (!writes<SPEC>(n)) continue;
    const int blocks = S::kY - n < kTogether ? S::kY - n : kTogether;
#pragma unroll
    for (int m = 0; m < S::kX; ++m) {
      const int first = warp.x + 64 * m;
      if (first >= tile.rows) continue;
      // Few scales at a time: the sums leave no registers for more.
      const float factor[2] = {row_scale<SPEC.scaling>(args, tile, first + warp.lane / 4),
                               row_scale<SPEC.scaling>(args, tile, first + warp.lane / 4 + 8)};
#pragma unroll
      for (int j = 0; j < blocks; j += 2) {
        float scale[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          scale[i] = column_scale<SPEC.scaling>(args, tile, 8 * (n + j + i / 2) + 2 * (warp.lane % 4) + i % 2);
        }
        unsigned words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const auto& sums = total[m][n + j + i / 2];
          words[i] = rounded_pair<C>(sums[2 * (i % 2)] * (factor[i % 2] * scale[2 * (i / 2)]),
                                     sums[2 * (i % 2) + 1] * (factor[i % 2] * scale[2 * (i / 2) + 1]));
        }
        ptx::store_matrices<false>(to + static_cast<unsigned>(16 * ((j + matrix / 2) ^ matrix_row)), words);
      }
      ptx::warp_barrier();  // the slab is filled
      ptx::Bytes16 read[4] = {};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = row + 4 * i;
        const unsigned from = warp.slab + static_cast<unsigned>(128 * at + 16 * (chunk ^ (at % 8)));
        if (chunk < blocks) read[i] = ptx::load_shared<ptx::Bytes16>(from);
      }
      ptx::warp_barrier();  // and read
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (chunk >= blocks) continue;
        write_words<C>(spot_at<C>(args, tile, first + row + 4 * i, 8 * (n + chunk)), read[i].word);
      }
    }
  }
}

// Weights on the 64-row side: the matrices are transposed on their way. The slab: tokens of 16 columns of C.
template <KernelSpec SPEC, Storage C, class Total>
EXPERTILE_DEVICE void write_swapped(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                    const Total& total) {
  using S = Shape<SPEC>;
  constexpr int kMost = S::kParts == 1 ? kSlabTokens / 8 : written_together(SPEC.tile);
  constexpr int kTogether = S::kY < kMost ? S::kY : kMost;  // blocks of 8 tokens
  const int matrix = warp.lane / 8;  // of four: 8 columns, the next 8, and the same of the next 8 tokens
  const int matrix_row = warp.lane % 8;
  // Rows of 32 bytes: those four apart would meet in a bank.
  const auto place = [&](int token, int half) {
    return warp.slab + static_cast<unsigned>(32 * token + 16 * (half ^ (token / 4 % 2)));
  };
  float column_factor[2 * S::kX];
  load_factors<SPEC>(args, tile, warp, column_factor);
#pragma unroll
  for (int n = 0; n < S::kY; n += kTogether) {
    if (8 * n >= tile.rows) return;
    if (!writes<SPEC>(n)) continue;
    const int blocks = S::kY - n < kTogether ? S::kY - n : kTogether;
    float token_factor[2 * kTogether];
#pragma unroll
    for (int t = 0; t < 2 * blocks; ++t) {
      token_factor[t] = row_scale<SPEC.scaling>(args, tile, 8 * (n + t / 2) + 2 * (warp.lane % 4) + t % 2);
    }
#pragma unroll
    for (int m = 0; m < S::kX; ++m) {
      const auto word = [&](int j, int half) {  // of 8 tokens and 8 columns
        const auto& sums = total[m][n + j];
        const float factor = column_factor[2 * m + half];
        return rounded_pair<C>(sums[2 * half] * (token_factor[2 * j] * factor),
                               sums[2 * half + 1] * (token_factor[2 * j + 1] * factor));
      };
#pragma unroll
      for (int j = 0; j < blocks; j += 2) {
        const unsigned to = place(8 * (j + matrix / 2) + matrix_row, matrix % 2);
        if (j + 1 < blocks) {
          const unsigned words[4] = {word(j, 0), word(j, 1), word(j + 1, 0), word(j + 1, 1)};
          ptx::store_matrices<true>(to, words);
        } else {
          const unsigned words[2] = {word(j, 0), word(j, 1)};
          ptx::store_matrices<true>(to, words);
        }
      }
      ptx::warp_barrier();              // the slab is filled
      const int token = warp.lane / 2;  // and every sixteenth behind it: what a lane writes
      const int half = warp.lane % 2;
      ptx::Bytes16 read[ceil_divide(kTogether, 2)] = {};
#pragma unroll
      for (int i = 0; i < ceil_divide(blocks, 2); ++i) {
        if (16 * i + token < 8 * blocks) read[i] = ptx::load_shared<ptx::Bytes16>(place(16 * i + token, half));
      }
      ptx::warp_barrier();  // and read
#pragma unroll
      for (int i = 0; i < ceil_divide(blocks, 2); ++i) {
        if (16 * i + token >= 8 * blocks) continue;
        const Spot spot = spot_at<C>(args, tile, 8 * n + 16 * i + token, warp.x + 64 * m + 8 * half);
        write_words<C>(spot, read[i].word);
      }
    }
  }
}

// ---- C of float32: straight from the registers, of which two or one are neighbours in C ---------------------------

template <KernelSpec SPEC, class Total>
EXPERTILE_DEVICE void write_straight_float(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                           const Total& total) {
  using S = Shape<SPEC>;
  const int column = 2 * (warp.lane % 4);
  float row_factor[2 * S::kX];
  load_factors<SPEC>(args, tile, warp, row_factor);
#pragma unroll
  for (int n = 0; n < S::kY; ++n) {
    if (!writes<SPEC>(n)) continue;
    const float scale[2] = {column_scale<SPEC.scaling>(args, tile, 8 * n + column),
                            column_scale<SPEC.scaling>(args, tile, 8 * n + column + 1)};
#pragma unroll
    for (int r = 0; r < 2 * S::kX; ++r) {
      const int row = warp.x + 64 * (r / 2) + 8 * (r % 2) + warp.lane / 4;
      const auto& sums = total[r / 2][n];
      const unsigned words[2] = {ptx::bits_of(sums[2 * (r % 2)] * (row_factor[r] * scale[0])),
                                 ptx::bits_of(sums[2 * (r % 2) + 1] * (row_factor[r] * scale[1]))};
      write_words<Storage::float32>(spot_at<Storage::float32>(args, tile, row, 8 * n + column), words);
    }
  }
}

template <KernelSpec SPEC, class Total>
EXPERTILE_DEVICE void write_swapped_float(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                          const Total& total) {
  using S = Shape<SPEC>;
  float column_factor[2 * S::kX];
  load_factors<SPEC>(args, tile, warp, column_factor);
#pragma unroll
  for (int n = 0; n < S::kY; ++n) {
    if (8 * n >= tile.rows) return;
    if (!writes<SPEC>(n)) continue;
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      const int token = 8 * n + 2 * (warp.lane % 4) + t;
      const float factor = row_scale<SPEC.scaling>(args, tile, token);
#pragma unroll
      for (int r = 0; r < 2 * S::kX; ++r) {
        const int column = warp.x + 64 * (r / 2) + 8 * (r % 2) + warp.lane / 4;
        const unsigned word[1] = {ptx::bits_of(total[r / 2][n][2 * (r % 2) + t] * (factor * column_factor[r]))};
        write_words<Storage::float32>(spot_at<Storage::float32>(args, tile, token, column), word);
      }
    }
  }
}

template <KernelSpec SPEC, Storage C, class Total>
EXPERTILE_DEVICE void write_as(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                               const Total& total) {
  if constexpr (C == Storage::float32) {
    if constexpr (SPEC.tile.swap_ab != 0) write_swapped_float<SPEC>(args, tile, warp, total);
    if constexpr (SPEC.tile.swap_ab == 0) write_straight_float<SPEC>(args, tile, warp, total);
  } else {
    if constexpr (SPEC.tile.swap_ab != 0) write_swapped<SPEC, C>(args, tile, warp, total);
    if constexpr (SPEC.tile.swap_ab == 0) write_straight<SPEC, C>(args, tile, warp, total);
  }
}

template <KernelSpec SPEC, class Total>
EXPERTILE_DEVICE void write_tile(const KernelArgs& args, const OutputTile& tile, WarpPlace warp, const Total& total) {
  ptx::hold(warp.lane);  // what is worked out of it is not kept in registers from tile to tile
  if (args.c_storage == Storage::float16) {
    write_as<SPEC, Storage::float16>(args, tile, warp, total);
  } else if (args.c_storage == Storage::bfloat16) {
    write_as<SPEC, Storage::bfloat16>(args, tile, warp, total);
  } else {
    write_as<SPEC, Storage::float32>(args, tile, warp, total);
  }
}

}  // namespace expertile::sm90
