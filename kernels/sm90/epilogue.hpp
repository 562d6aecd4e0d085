#pragma once
// Sums -> C, straight from the registers: applies the scales that are constant along K, rounds, and writes rows of the
// group and columns below N only. No shared memory and no barrier, so that a warp writes while others multiply. Of a
// tile whose K several blocks have multiplied, each writes the part that it has added up.

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

// ELEMENTS elements of C, 4 bytes a word, `behind` elements behind the spot.
template <Storage C, int WORDS>
EXPERTILE_DEVICE void write_words(const Spot& spot, int behind, const unsigned (&word)[WORDS]) {
  constexpr int kElements = 4 * WORDS / size_of(C);
  unsigned char* to = spot.to + behind * size_of(C);
  if (spot.left_wide >= behind + kElements) {
    if constexpr (WORDS == 4) {
      ptx::store_global(reinterpret_cast<ptx::Bytes16*>(to), ptx::Bytes16{{word[0], word[1], word[2], word[3]}});
    } else if constexpr (WORDS == 2) {
      ptx::store_global(reinterpret_cast<ptx::Bytes8*>(to), ptx::Bytes8{{word[0], word[1]}});
    } else {
      ptx::store_global(reinterpret_cast<unsigned*>(to), word[0]);
    }
    return;
  }
  if (spot.left <= behind) return;
#pragma unroll
  for (int e = 0; e < kElements; ++e) {  // a fixed count keeps the words in registers
    if (e >= spot.left - behind) continue;
    if constexpr (size_of(C) == 2) {
      ptx::store_global(reinterpret_cast<unsigned short*>(to) + e,
                        static_cast<unsigned short>(word[e / 2] >> (e % 2 * 16)));
    } else {
      ptx::store_global(reinterpret_cast<unsigned*>(to) + e, word[e]);
    }
  }
}

// Four lanes with four words each change rows for columns: word i of lane q becomes word q of lane i.
EXPERTILE_DEVICE void transpose_quad(unsigned (&word)[4], int lane) {
#pragma unroll
  for (int distance = 1; distance <= 2; distance *= 2) {
    const bool upper = (lane & distance) != 0;
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      const int low = distance == 1 ? 2 * pair : pair;
      const int high = low + distance;
      const unsigned other = ptx::shuffle_xor(upper ? word[low] : word[high], distance);
      word[low] = upper ? other : word[low];
      word[high] = upper ? word[high] : other;
    }
  }
}

// Tokens on the 64-row side. A lane has two neighbouring columns of every 8; after the quad's exchange it has 8 of 32.
template <KernelSpec SPEC, Storage C, class Total>
EXPERTILE_DEVICE void write_straight(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                     const Total& total) {
  using S = Shape<SPEC>;
  static_assert(S::kY % 4 == 0, "BLOCK_SIZE_N is a multiple of 32");
  const int in_quad = warp.lane % 4;
  Spot spot[2 * S::kX];
  float row_factor[2 * S::kX];
#pragma unroll
  for (int r = 0; r < 2 * S::kX; ++r) {
    const int row = warp.x + 64 * (r / 2) + 8 * (r % 2) + warp.lane / 4;
    spot[r] = spot_at<C>(args, tile, row, (C == Storage::float32 ? 2 : 8) * in_quad);
    row_factor[r] = row_scale<SPEC.scaling>(args, tile, row);
  }
#pragma unroll
  for (int n = 0; n < S::kY; n += written_together(SPEC.tile)) {
    if (!writes<SPEC>(n)) continue;
    float scale[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      scale[j] = column_scale<SPEC.scaling>(args, tile, 8 * (n + j / 2) + 2 * in_quad + j % 2);
    }
#pragma unroll
    for (int r = 0; r < 2 * S::kX; ++r) {
      const auto value = [&](int j) {
        return static_cast<float>(total[r / 2][n + j / 2][2 * (r % 2) + j % 2]) * (row_factor[r] * scale[j]);
      };
      if constexpr (C == Storage::float32) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const unsigned words[2] = {ptx::bits_of(value(2 * j)), ptx::bits_of(value(2 * j + 1))};
          write_words<C>(spot[r], 8 * (n + j), words);
        }
      } else {
        unsigned words[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) words[j] = rounded_pair<C>(value(2 * j), value(2 * j + 1));
        transpose_quad(words, warp.lane);
        write_words<C>(spot[r], 8 * n, words);
      }
    }
  }
}

// Weights on the 64-row side: a lane has two neighbouring tokens of one column. 16-bit elements are transposed, 8 x 8
// at a time, to two columns of one token; of two by two such blocks, the quad's exchange makes 8 columns of one.
template <KernelSpec SPEC, Storage C, class Total>
EXPERTILE_DEVICE void write_swapped(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                    const Total& total) {
  using S = Shape<SPEC>;
  constexpr int kTogether = written_together(SPEC.tile);  // blocks of 8 tokens
  constexpr bool kIsFloat = C == Storage::float32;
  const int in_quad = warp.lane % 4;
  // What a lane writes of the first tokens: of float32, one column of two tokens.
  const int token = kIsFloat ? 2 * in_quad : warp.lane / 4 + (kTogether == 2 ? 8 * (in_quad / 2) : 0);
  const int column = warp.x + (kIsFloat ? warp.lane / 4 : kTogether == 2 ? 8 * (in_quad % 2) : 2 * in_quad);
  float column_factor[2 * S::kX];
#pragma unroll
  for (int r = 0; r < 2 * S::kX; ++r) {
    column_factor[r] = column_scale<SPEC.scaling>(args, tile, warp.x + 64 * (r / 2) + 8 * (r % 2) + warp.lane / 4);
  }
#pragma unroll
  for (int n = 0; n < S::kY; n += kTogether) {
    if (8 * n >= tile.rows) return;
    if (!writes<SPEC>(n)) continue;
    float token_factor[2 * kTogether];
#pragma unroll
    for (int t = 0; t < 2 * kTogether; ++t) {
      token_factor[t] = row_scale<SPEC.scaling>(args, tile, 8 * (n + t / 2) + 2 * in_quad + t % 2);
    }
    Spot spot[kIsFloat ? 2 * kTogether : 1];
#pragma unroll
    for (int t = 0; t < (kIsFloat ? 2 * kTogether : 1); ++t) {
      spot[t] = spot_at<C>(args, tile, 8 * (n + t / 2) + token + t % 2, column);
    }
#pragma unroll
    for (int m = 0; m < S::kX; ++m) {
      unsigned words[2 * kTogether];
#pragma unroll
      for (int i = 0; i < 2 * kTogether; ++i) {  // 8 columns, the next 8, and the same of the next 8 tokens
        const auto value = [&](int j) {
          return static_cast<float>(total[m][n + i / 2][2 * (i % 2) + j]) *
                 (token_factor[2 * (i / 2) + j] * column_factor[2 * m + i % 2]);
        };
        if constexpr (kIsFloat) {
          for (int j = 0; j < 2; ++j) {
            const unsigned word[1] = {ptx::bits_of(value(j))};
            write_words<C>(spot[2 * (i / 2) + j], 64 * m + 8 * (i % 2), word);
          }
        } else {
          words[i] = ptx::transpose8x8(rounded_pair<C>(value(0), value(1)));
        }
      }
      if constexpr (!kIsFloat && kTogether == 2) {
        transpose_quad(words, warp.lane);
        write_words<C>(spot[0], 64 * m, words);
      } else if constexpr (!kIsFloat) {
        for (int i = 0; i < 2; ++i) {
          const unsigned word[1] = {words[i]};
          write_words<C>(spot[0], 64 * m + 8 * i, word);
        }
      }
    }
  }
}

template <KernelSpec SPEC, Storage C, class Total>
EXPERTILE_DEVICE void write_as(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                               const Total& total) {
  if constexpr (SPEC.tile.swap_ab != 0) {
    write_swapped<SPEC, C>(args, tile, warp, total);
  } else {
    write_straight<SPEC, C>(args, tile, warp, total);
  }
}

template <KernelSpec SPEC, class Total>
EXPERTILE_DEVICE void write_tile(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                 const Total& total) {
  if (args.c_storage == Storage::float16) {
    write_as<SPEC, Storage::float16>(args, tile, warp, total);
  } else if (args.c_storage == Storage::bfloat16) {
    write_as<SPEC, Storage::bfloat16>(args, tile, warp, total);
  } else {
    write_as<SPEC, Storage::float32>(args, tile, warp, total);
  }
}

}  // namespace expertile::sm90
