#pragma once
// Sums -> C: applies the scales that are constant along K, rounds, and writes rows of the group and columns below N
// only. Of a tile whose K is split, each block writes the columns that it has reduced.

#include "sm90/split_k.hpp"
#include "sm90/store_tiles.hpp"

namespace expertile::sm90 {

// The scales of the rows of X that a lane has sums of: tokens, or, swapped, columns of C.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void load_factors(const KernelArgs& args, const OutputTile& tile, const Consumer& consumer,
                                   float (&factor)[2 * Shape<SPEC>::kX]) {
#pragma unroll
  for (int r = 0; r < 2 * Shape<SPEC>::kX; ++r) {
    const int x = consumer.x + 64 * (r / 2) + 8 * (r % 2) + consumer.lane / 4;
    if constexpr (Shape<SPEC>::kSwapped) {
      factor[r] = column_scale<SPEC.scaling>(args, tile, x);
    } else {
      factor[r] = row_scale<SPEC.scaling>(args, tile, x);
    }
  }
}

// ---- C of 16 bits: through store tiles ------------------------------------------------------------------------------

// An owner's uses of its store tiles for one tile of C: each takes so many blocks of 8 columns (swapped: of 8 tokens),
// and 64 rows of X. They are filled all together, and then stored, where there is a store tile for each: a fence and a
// barrier for all. Otherwise one after the other, so that one is filled while others are read; so are many, which would
// take registers that their sums leave to none.
template <KernelSpec SPEC>
struct StoreUses {
  using S = Shape<SPEC>;
  static constexpr int kWhole = S::kSwapped ? store_tile_rows(SPEC) / 8 : 8;
  static constexpr int kTogether = S::kSplits == 1 ? kWhole : written_together(SPEC.tile);
  static constexpr int kCount = S::kX * ceil_divide(S::kY, kTogether);
  static constexpr int kMostAtOnce = 3;
  static constexpr int kAtOnce = kLayout<SPEC>.store_tiles_each >= kCount && kCount <= kMostAtOnce ? kCount : 1;
  static constexpr int first(int use) { return use / S::kX * kTogether; }
  static constexpr int blocks(int use) { return S::kY - first(use) < kTogether ? S::kY - first(use) : kTogether; }
  static constexpr int x(int use) { return use % S::kX; }
};

// Tokens on the 64-row side. A store tile: 16 rows of C of 64 columns. It is filled as soon as it is free, with what
// has been rounded meanwhile.
template <KernelSpec SPEC, class Total>
EXPERTILE_DEVICE StoreTile fill_straight(const KernelArgs& args, const OutputTile& tile, const Consumer& consumer,
                                         const Total& total, int use) {
  using U = StoreUses<SPEC>;
  static_assert(Shape<SPEC>::kY % 4 == 0, "BLOCK_SIZE_N is a multiple of 32");
  const int n = U::first(use);
  const int row = consumer.x + 64 * U::x(use);
  // Few scales at a time: the sums leave no registers for more.
  const float factor[2] = {row_scale<SPEC.scaling>(args, tile, row + consumer.lane / 4),
                           row_scale<SPEC.scaling>(args, tile, row + consumer.lane / 4 + 8)};
  unsigned words[U::kTogether / 2][4];
#pragma unroll
  for (int j = 0; j < U::kTogether; j += 2) {  // a fixed count keeps the words in registers
    if (j >= U::blocks(use)) continue;
    float scale[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      scale[i] = column_scale<SPEC.scaling>(args, tile, 8 * (n + j + i / 2) + 2 * (consumer.lane % 4) + i % 2);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const auto& sums = total[U::x(use)][n + j + i / 2];
      words[j / 2][i] = rounded_pair<SPEC.c>(sums[2 * (i % 2)] * (factor[i % 2] * scale[2 * (i / 2)]),
                                             sums[2 * (i % 2) + 1] * (factor[i % 2] * scale[2 * (i / 2) + 1]));
    }
  }
  const unsigned store_tile = acquire_store_tile<SPEC>(consumer, use);
  const int matrix = consumer.lane / 8;  // of four: 8 rows, the 8 below, and the same of the next 8 columns
  const int tile_row = 8 * (matrix % 2) + consumer.lane % 8;
#pragma unroll
  for (int j = 0; j < U::kTogether; j += 2) {
    if (j < U::blocks(use))
      ptx::store_matrices<false>(chunk_offset(store_tile, tile_row, j + matrix / 2), words[j / 2]);
  }
  return {store_tile, row, 8 * n, 16, U::blocks(use)};
}

// Weights on the 64-row side: the matrices are transposed on their way. A store tile: tokens of the 64 columns of C
// that a block of the warpgroup's has, 16 of them each warp's.
template <KernelSpec SPEC, class Total>
EXPERTILE_DEVICE StoreTile fill_swapped(const KernelArgs& args, const OutputTile& tile, const Consumer& consumer,
                                        const Total& total, const float (&column_factor)[2 * Shape<SPEC>::kX],
                                        int use) {
  using U = StoreUses<SPEC>;
  const int n = U::first(use);
  const int m = U::x(use);
  const int matrix = consumer.lane / 8;  // of four: 8 columns, the next 8, and the same of the next 8 tokens
  const int chunk = (consumer.x - consumer.warpgroup_x) / 8 + matrix % 2;
  float token_factor[2 * U::kTogether];
#pragma unroll
  for (int t = 0; t < 2 * U::kTogether; ++t) {  // a fixed count keeps them in registers
    if (t >= 2 * U::blocks(use)) continue;
    token_factor[t] = row_scale<SPEC.scaling>(args, tile, 8 * (n + t / 2) + 2 * (consumer.lane % 4) + t % 2);
  }
  const auto word = [&](int j, int half) {  // of 8 tokens and 8 columns
    const auto& sums = total[m][n + j];
    const float factor = column_factor[2 * m + half];
    return rounded_pair<SPEC.c>(sums[2 * half] * (token_factor[2 * j] * factor),
                                sums[2 * half + 1] * (token_factor[2 * j + 1] * factor));
  };
  const unsigned store_tile = acquire_store_tile<SPEC>(consumer, use);
#pragma unroll
  for (int j = 0; j < U::kTogether; j += 2) {
    if (j >= U::blocks(use)) continue;
    const unsigned to = chunk_offset(store_tile, 8 * (j + matrix / 2) + consumer.lane % 8, chunk);
    if (j + 1 < U::blocks(use)) {
      const unsigned words[4] = {word(j, 0), word(j, 1), word(j + 1, 0), word(j + 1, 1)};
      ptx::store_matrices<true>(to, words);
    } else {
      const unsigned words[2] = {word(j, 0), word(j, 1)};
      ptx::store_matrices<true>(to, words);
    }
  }
  return {store_tile, 8 * n, consumer.warpgroup_x + 64 * m, 8 * U::blocks(use), 8};
}

template <KernelSpec SPEC, class Total>
EXPERTILE_DEVICE void write_through_store_tiles(const TiledArgs& in, const OutputTile& tile, const Consumer& consumer,
                                                const Total& total) {
  using U = StoreUses<SPEC>;
  [[maybe_unused]] float column_factor[2 * Shape<SPEC>::kX];
  if constexpr (SPEC.tile.swap_ab != 0) load_factors<SPEC>(in.args, tile, consumer, column_factor);
#pragma unroll
  for (int first = 0; first < U::kCount; first += U::kAtOnce) {
    if (is_empty<SPEC>(tile, U::first(first))) return;
    if (!writes<SPEC>(U::first(first))) continue;
    StoreTile filled[U::kAtOnce];
#pragma unroll
    for (int i = 0; i < U::kAtOnce; ++i) {
      if constexpr (SPEC.tile.swap_ab != 0) {
        filled[i] = fill_swapped<SPEC>(in.args, tile, consumer, total, column_factor, first + i);
      } else {
        filled[i] = fill_straight<SPEC>(in.args, tile, consumer, total, first + i);
      }
    }
    store<SPEC>(in, tile, consumer, filled);
  }
}

// ---- C of float32: straight from the registers, of which two or one are neighbours in C ---------------------------

// Neighbouring elements of C, from the spot on.
template <int WORDS>
EXPERTILE_DEVICE void write_words(const Spot& spot, const unsigned (&word)[WORDS]) {
  if (spot.left_wide >= WORDS) {
    if constexpr (WORDS == 2) {
      ptx::store_global(reinterpret_cast<ptx::Bytes8*>(spot.to), ptx::Bytes8{{word[0], word[1]}});
    } else {
      ptx::store_global(reinterpret_cast<unsigned*>(spot.to), word[0]);
    }
    return;
  }
#pragma unroll
  for (int e = 0; e < WORDS; ++e) {  // a fixed count keeps the words in registers
    if (e < spot.left) ptx::store_global(reinterpret_cast<unsigned*>(spot.to) + e, word[e]);
  }
}

template <KernelSpec SPEC, class Total>
EXPERTILE_DEVICE void write_straight_float(const KernelArgs& args, const OutputTile& tile, const Consumer& consumer,
                                           const Total& total) {
  using S = Shape<SPEC>;
  const int column = 2 * (consumer.lane % 4);
  float row_factor[2 * S::kX];
  load_factors<SPEC>(args, tile, consumer, row_factor);
#pragma unroll
  for (int n = 0; n < S::kY; ++n) {
    if (!writes<SPEC>(n)) continue;
    const float scale[2] = {column_scale<SPEC.scaling>(args, tile, 8 * n + column),
                            column_scale<SPEC.scaling>(args, tile, 8 * n + column + 1)};
#pragma unroll
    for (int r = 0; r < 2 * S::kX; ++r) {
      const int row = consumer.x + 64 * (r / 2) + 8 * (r % 2) + consumer.lane / 4;
      const auto& sums = total[r / 2][n];
      const unsigned words[2] = {ptx::bits_of(sums[2 * (r % 2)] * (row_factor[r] * scale[0])),
                                 ptx::bits_of(sums[2 * (r % 2) + 1] * (row_factor[r] * scale[1]))};
      write_words(spot_at<Storage::float32>(args, tile, row, 8 * n + column), words);
    }
  }
}

template <KernelSpec SPEC, class Total>
EXPERTILE_DEVICE void write_swapped_float(const KernelArgs& args, const OutputTile& tile, const Consumer& consumer,
                                          const Total& total) {
  using S = Shape<SPEC>;
  float column_factor[2 * S::kX];
  load_factors<SPEC>(args, tile, consumer, column_factor);
#pragma unroll
  for (int n = 0; n < S::kY; ++n) {
    if (8 * n >= tile.rows) return;
    if (!writes<SPEC>(n)) continue;
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      const int token = 8 * n + 2 * (consumer.lane % 4) + t;
      const float factor = row_scale<SPEC.scaling>(args, tile, token);
#pragma unroll
      for (int r = 0; r < 2 * S::kX; ++r) {
        const int column = consumer.x + 64 * (r / 2) + 8 * (r % 2) + consumer.lane / 4;
        const unsigned word[1] = {ptx::bits_of(total[r / 2][n][2 * (r % 2) + t] * (factor * column_factor[r]))};
        write_words(spot_at<Storage::float32>(args, tile, token, column), word);
      }
    }
  }
}

template <KernelSpec SPEC, class Total>
EXPERTILE_DEVICE void write_tile(const TiledArgs& in, const OutputTile& tile, Consumer consumer, const Total& total) {
  ptx::fence_operand(consumer.lane);  // what is worked out of it is not kept in registers from tile to tile
  if constexpr (SPEC.c != Storage::float32) {
    write_through_store_tiles<SPEC>(in, tile, consumer, total);
  } else if constexpr (SPEC.tile.swap_ab != 0) {
    write_swapped_float<SPEC>(in.args, tile, consumer, total);
  } else {
    write_straight_float<SPEC>(in.args, tile, consumer, total);
  }
}

}  // namespace expertile::sm90
