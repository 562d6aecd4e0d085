#pragma once
// Sums -> C: adds the partial sums of a split K, applies the scales that are constant along K, rounds, and writes rows.

#include "sm80/mainloop.hpp"

namespace expertile::sm80 {

// A sum as 4 bytes of shared memory, whatever its type.
EXPERTILE_DEVICE unsigned word_of(float value) { return ptx::bits_of(value); }
EXPERTILE_DEVICE unsigned word_of(int value) { return static_cast<unsigned>(value); }
EXPERTILE_DEVICE void add_word(float& sum, unsigned word) { sum += ptx::float_from_bits(word); }
EXPERTILE_DEVICE void add_word(int& sum, unsigned word) { sum += static_cast<int>(word); }

// Adds the sums of splits 1, 2, ... to split 0's, always in this order. Lane by lane, so no two addresses clash.
template <KernelSpec SPEC, class Total>
EXPERTILE_DEVICE void add_splits(unsigned partial_sums, const WarpTile& warp, Total& total) {
  using S = Shape<SPEC>;
  constexpr int kThreads = S::kThreads / S::kTile.split_k;  // of a split
  constexpr int kWords = S::kX * S::kY * 4;
  const int thread = ptx::thread_index() % kThreads;
  const auto offset = [&](int split, int word) {
    return partial_sums + static_cast<unsigned>((((split - 1) * kWords + word) * kThreads + thread) * 4);
  };
  if (warp.split > 0) {
    for (int m = 0, word = 0; m < S::kX; ++m) {
      for (int n = 0; n < S::kY; ++n) {
        for (int i = 0; i < 4; ++i) ptx::store_shared(offset(warp.split, word++), word_of(total[m][n][i]));
      }
    }
  }
  ptx::barrier();  // the partial sums are written
  if (warp.split > 0) return;
  for (int split = 1; split < S::kTile.split_k; ++split) {
    for (int m = 0, word = 0; m < S::kX; ++m) {
      for (int n = 0; n < S::kY; ++n) {
        for (int i = 0; i < 4; ++i) add_word(total[m][n][i], ptx::load_shared<unsigned>(offset(split, word++)));
      }
    }
  }
}

// The rows of one pass over the scaled tile of C, of every warp's own rows, in shared memory in float32. A
// warp along X owns kX * 16 rows; pass m stages the m-th 16 of each. Swapped, pass 0 stages the whole tile.
template <KernelSpec SPEC, class Total>
EXPERTILE_DEVICE void stage_rows(const KernelArgs& args, const OutputTile& tile, const WarpTile& warp, unsigned staged,
                                 const Total& total, int pass) {
  using S = Shape<SPEC>;
  const auto scale = [&](int in_tile, bool is_token) {
    return is_token ? row_scale<SPEC.scaling>(args, tile, in_tile) : column_scale<SPEC.scaling>(args, tile, in_tile);
  };
#pragma unroll
  for (int n = 0; n < S::kY; ++n) {
    const float scale_y[2] = {scale(y_of(warp, n, 0), S::kSwapped), scale(y_of(warp, n, 1), S::kSwapped)};
#pragma unroll
    for (int m = 0; m < S::kX; ++m) {
      if (!S::kSwapped && m != pass) continue;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int x = x_of(warp, m, i);
        const int y = y_of(warp, n, i);
        const float value = static_cast<float>(total[m][n][i]) * (scale(x, !S::kSwapped) * scale_y[i % 2]);
        const int row = S::kSwapped ? y : x - warp.x - 16 * m + warp.x / S::kX;
        const int column = S::kSwapped ? x : y;
        ptx::store_shared(staged + static_cast<unsigned>(row * kLayout<SPEC>.staged_row_bytes + column * 4), value);
      }
    }
  }
}

// 16 bytes of C from the staged floats that begin at `from`.
template <Storage C>
EXPERTILE_DEVICE ptx::Bytes16 rounded_chunk(unsigned from) {
  if constexpr (C == Storage::float32) {
    return ptx::load_shared<ptx::Bytes16>(from);
  } else {
    ptx::Bytes16 chunk;
    for (int half = 0; half < 2; ++half) {
      const auto four = ptx::load_shared<ptx::Bytes16>(from + static_cast<unsigned>(16 * half));
      for (int pair = 0; pair < 2; ++pair) {
        chunk.word[2 * half + pair] =
            rounded_pair<C>(ptx::float_from_bits(four.word[2 * pair]), ptx::float_from_bits(four.word[2 * pair + 1]));
      }
    }
    return chunk;
  }
}

// The staged rows to C: only rows of the group and columns below N are ever written.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void write_rows(const KernelArgs& args, const OutputTile& tile, unsigned staged, int pass) {
  using S = Shape<SPEC>;
  constexpr int kBytes = size_of(SPEC.c);
  constexpr int kChunk = 16 / kBytes;  // elements of 16 bytes
  constexpr int kChunks = SPEC.tile.block_size_n / kChunk;
  auto* c = static_cast<unsigned char*>(args.c);
  for (int i = ptx::thread_index(); i < kLayout<SPEC>.staged_row_count * kChunks; i += threads_of(SPEC)) {
    const int in_pass = i / kChunks;
    const int row = S::kSwapped ? in_pass : in_pass / 16 * S::kX * 16 + 16 * pass + in_pass % 16;
    const int column = i % kChunks * kChunk;
    const int n = tile.column + column;
    if (row >= tile.rows || n >= args.n) continue;
    const ptx::Bytes16 chunk =
        rounded_chunk<SPEC.c>(staged + static_cast<unsigned>(in_pass * kLayout<SPEC>.staged_row_bytes + column * 4));
    unsigned char* to = c + ((tile.row + row) * args.c_pitch + n) * kBytes;
    if (args.wide_stores != 0 && n + kChunk <= args.n) {
      ptx::store_global(reinterpret_cast<ptx::Bytes16*>(to), chunk);
      continue;
    }
    for (int e = 0; e < kChunk && n + e < args.n; ++e) {
      if constexpr (kBytes == 2) {
        ptx::store_global(reinterpret_cast<unsigned short*>(to) + e,
                          static_cast<unsigned short>(chunk.word[e / 2] >> (e % 2 * 16)));
      } else {
        ptx::store_global(reinterpret_cast<unsigned*>(to) + e, chunk.word[e]);
      }
    }
  }
}

// The stages are free by now.
template <KernelSpec SPEC, class Total>
EXPERTILE_DEVICE void write_tile(const KernelArgs& args, const OutputTile& tile, const WarpTile& warp, Total& total) {
  constexpr SharedLayout kAt = kLayout<SPEC>;
  constexpr int kPasses = Shape<SPEC>::kSwapped ? 1 : Shape<SPEC>::kX;
  constexpr auto kStaged = static_cast<unsigned>(kAt.staged_rows);
  if constexpr (SPEC.tile.split_k > 1) add_splits<SPEC>(static_cast<unsigned>(kAt.partial_sums), warp, total);
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    if (pass > 0) ptx::barrier();  // the rows of the pass before are read
    if (warp.split == 0) stage_rows<SPEC>(args, tile, warp, kStaged, total, pass);
    ptx::barrier();  // the rows are staged
    write_rows<SPEC>(args, tile, kStaged, pass);
  }
}

}  // namespace expertile::sm80
