#pragma once
// Scales of blocks on their way to the sums. Warps of their own bring those of a stage's spans into shared memory, as
// far ahead as the copies: whoever multiplies neither waits for memory nor keeps registers for addresses.

#include "sm90/mainloop.hpp"

namespace expertile::sm90 {

// Where a token's scale lies among those of a span, in bytes. A lane that has sums of a token has those of the eighth
// one behind it where tokens are rows, and of the next one where they are columns: it loads the two together.
template <KernelSpec SPEC>
EXPERTILE_DEVICE unsigned scale_place(int token) {
  if (Shape<SPEC>::kSwapped) return static_cast<unsigned>(4 * token);
  return static_cast<unsigned>(4 * (token / 16 * 16 + token % 8 * 2 + token / 8 % 2));
}

// Where the scales along K of one of a tile's rows of scales begin, those of its tokens and, behind them, of its
// weights. Tokens behind the tile's end have the last one's (those of a tile without any, A's first), and columns
// behind N likewise: nothing of them is written.
template <KernelSpec SPEC>
EXPERTILE_DEVICE const float* scales_of(const KernelArgs& args, const OutputTile& tile, int row) {
  constexpr int kTokens = token_scales(SPEC);
  const int k_blocks = ceil_divide(args.k, SPEC.block_k);
  if (row < kTokens) {
    if (tile.rows == 0) return args.scale_a;
    return args.scale_a + (tile.row + (row < tile.rows ? row : tile.rows - 1)) * k_blocks;
  }
  const long long n_blocks = ceil_divide(args.n, SPEC.block_n);
  const int column = tile.column + (row - kTokens) * columns_a_scale(SPEC);
  const int block_n = (column < args.n ? column : args.n - 1) / SPEC.block_n;
  return args.scale_b + (tile.expert * n_blocks + block_n) * k_blocks;
}

// Scales of COUNT (2 or 4) blocks of K one after the other, in a lane's registers.
template <int COUNT>
struct NearScales {
  using Bytes = ptx::Bytes16;
};
template <>
struct NearScales<2> {
  using Bytes = ptx::Bytes8;
};
// The near-th such scales of a row that begins at `from`, loaded at once where the row allows it: one by one, each of
// them costs the way to the L1. Behind the last block, the last one's.
template <int COUNT>
EXPERTILE_DEVICE typename NearScales<COUNT>::Bytes load_near_scales(const float* from, int near, int k_blocks) {
  using Bytes = typename NearScales<COUNT>::Bytes;
  const auto address = reinterpret_cast<unsigned long long>(from);
  if (k_blocks % COUNT == 0 && address % sizeof(Bytes) == 0) {
    return ptx::load_global(reinterpret_cast<const Bytes*>(from) + near);
  }
  Bytes scales;
#pragma unroll
  for (int j = 0; j < COUNT; ++j) {
    const int block = COUNT * near + j < k_blocks ? COUNT * near + j : k_blocks - 1;
    scales.word[j] = ptx::load_global(reinterpret_cast<const unsigned*>(from + block));
  }
  return scales;
}
EXPERTILE_DEVICE unsigned scale_of(const ptx::Bytes8& near, int block) {
  return block % 2 == 0 ? near.word[0] : near.word[1];
}
EXPERTILE_DEVICE unsigned scale_of(const ptx::Bytes16& near, int block) {
  const unsigned even = block % 4 < 2 ? near.word[0] : near.word[2];
  const unsigned odd = block % 4 < 2 ? near.word[1] : near.word[3];
  return block % 2 == 0 ? even : odd;
}

// For all slices of all of the block's tiles; the part-th warp of those that share the rows of scales. The next few of
// each row are loaded as soon as the last of those before has been stored, and used when their stage has been read:
// whoever waited for memory then would never get ahead of those who multiply.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void bring_scales(const KernelArgs& args, int part) {
  using S = Shape<SPEC>;
  constexpr int kTokens = token_scales(SPEC);
  constexpr int kRows = kTokens + weight_scales(SPEC);
  constexpr int kRounds = ceil_divide(kRows, 32 * scale_warps(SPEC));
  constexpr int kNear = kRounds > 2 ? 2 : 4;  // these warps have few registers
  const int lane = ptx::thread_index() % 32;
  const int first_row = 32 * kRounds * part + lane;
  const int slices = slice_count<SPEC>(args.k);
  const int k_blocks = ceil_divide(args.k, SPEC.block_k);
  Slot slot;
  for (int turn = 0;; ++turn) {
    const OutputTile tile = hear_tile<SPEC>(turn);
    if (tile.rows < 0) return;
    const float* from[kRounds];
#pragma unroll
    for (int r = 0; r < kRounds; ++r) from[r] = scales_of<SPEC>(args, tile, first_row + 32 * r);
    typename NearScales<kNear>::Bytes scales[kRounds] = {};
    int held = -1;  // which they are
    for (int i = 0; i < slices; ++i, next<SPEC>(slot)) {
      const Place<SPEC> place = place_of<SPEC>(slot);
#pragma unroll
      for (int span = 0; span < S::kSpans; ++span) {
        const int k = (first_slice<SPEC>(args.k) + i) * S::kTile.block_size_k + span * span_elements(SPEC);
        const int block = (k < args.k ? k : args.k - 1) / SPEC.block_k;  // behind K zeros are scaled
        if (block / kNear != held) {
          held = block / kNear;
#pragma unroll
          for (int r = 0; r < kRounds; ++r) {
            if (first_row + 32 * r < kRows) scales[r] = load_near_scales<kNear>(from[r], held, k_blocks);
          }
        }
        if (span == 0) ptx::mbarrier_wait(place.empty, place.parity ^ 1);  // those before have been read
        const unsigned to = place.scales + static_cast<unsigned>(span * span_scale_bytes(SPEC));
#pragma unroll
        for (int r = 0; r < kRounds; ++r) {
          const int row = first_row + 32 * r;
          const unsigned behind = row < kTokens ? scale_place<SPEC>(row) : static_cast<unsigned>(4 * row);
          if (row < kRows) ptx::store_shared(to + behind, scale_of(scales[r], block));
        }
      }
      arrive_for_warp<SPEC>(place.full, lane);
    }
  }
}

// Where those lie that a lane needs of the ring's first stage, for its first token and its first weights: in registers,
// so that they are not worked out anew at every slice, which would keep its first product waiting.
struct ScaleAddresses {
  unsigned tokens = 0;
  unsigned weights = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE ScaleAddresses scale_addresses(const WarpPlace& warp) {
  constexpr auto kScales = static_cast<unsigned>(scales_offset(SPEC));
  const int weights = token_scales(SPEC) + (Shape<SPEC>::kSwapped ? warp.group / 64 : 0);
  ScaleAddresses at{ptx::shared_address(kScales + scale_place<SPEC>(warp.x + warp.lane / 4)),
                    ptx::shared_address(kScales + static_cast<unsigned>(4 * weights))};
  ptx::hold(at.tokens);
  ptx::hold(at.weights);
  return at;
}

// The scales of a span that a lane's sums of a piece need.
template <KernelSpec SPEC, Extent EXTENT>
struct PieceScales {
  using S = Shape<SPEC>;
  static constexpr int kTokens = reads_scales_late(SPEC) || !SPEC.scales_a ? 0 : 2 * EXTENT.blocks;
  static constexpr int kWeights = S::kSwapped ? EXTENT.blocks : ceil_divide(EXTENT.columns, columns_a_scale(SPEC));
  unsigned at = 0;  // the span's
  float token[kTokens > 0 ? kTokens : 1];
  float weight[kWeights];
};
template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE PieceScales<SPEC, EXTENT> load_scales(const ScaleAddresses& first, int stage, int span,
                                                       const Piece& piece) {
  using S = Shape<SPEC>;
  using Scales = PieceScales<SPEC, EXTENT>;
  const auto behind = static_cast<unsigned>(stage * stage_scale_bytes(SPEC) + span * span_scale_bytes(SPEC));
  Scales scales;
  scales.at = static_cast<unsigned>(scales_offset(SPEC)) + behind;
#pragma unroll
  for (int j = 0; j < Scales::kTokens; j += 2) {
    const int row = 64 * (piece.x + j / 2);
    const ptx::Bytes8 two = ptx::load_two_at(first.tokens + behind + static_cast<unsigned>(4 * row));
    scales.token[j] = ptx::float_from_bits(two.word[0]);
    scales.token[j + 1] = ptx::float_from_bits(two.word[1]);
  }
  const int weight = S::kSwapped ? piece.x : 8 * piece.y / columns_a_scale(SPEC);
#pragma unroll
  for (int j = 0; j < Scales::kWeights; ++j) {
    scales.weight[j] =
        ptx::float_from_bits(ptx::load_word_at(first.weights + behind + static_cast<unsigned>(4 * (weight + j))));
  }
  return scales;
}

// What the sums of 8 columns, y-th of the tile and n-th of the piece, in block m of the piece are multiplied with: a
// lane's first two sums, and the two 8 rows below.
template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void factors_of(const PieceScales<SPEC, EXTENT>& scales, int lane, int m, int n, int y,
                                 float (&factor)[4]) {
  if constexpr (!SPEC.scales_a) {
    for (float& one : factor) one = scales.weight[Shape<SPEC>::kSwapped ? m : 8 * n / columns_a_scale(SPEC)];
  } else if constexpr (Shape<SPEC>::kSwapped) {
    const auto two = ptx::load_shared<ptx::Bytes8>(scales.at + scale_place<SPEC>(8 * y + 2 * (lane % 4)));
#pragma unroll
    for (int i = 0; i < 4; ++i) factor[i] = ptx::float_from_bits(two.word[i % 2]) * scales.weight[m];
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      factor[i] = scales.token[2 * m + i / 2] * scales.weight[8 * n / columns_a_scale(SPEC)];
    }
  }
}

}  // namespace expertile::sm90
