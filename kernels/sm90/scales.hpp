#pragma once
// Scales of blocks on their way to the sums. Scale producers, warps of their own, bring those of a stage's spans into
// shared memory, as far ahead as the copies: consumers neither wait for memory nor keep registers for addresses.

#include "sm90/mainloop.hpp"

namespace expertile::sm90 {

// Where a token's scale lies among those of a span, in bytes. A lane that has sums of a token has those of the eighth
// one behind it where tokens are rows, and of the next one where they are columns: it loads the two together.
template <KernelSpec SPEC>
EXPERTILE_DEVICE unsigned scale_offset(int token) {
  if (Shape<SPEC>::kSwapped) return static_cast<unsigned>(4 * token);
  return static_cast<unsigned>(4 * (token / 16 * 16 + token % 8 * 2 + token / 8 % 2));
}

// Where the scales along K of one of a tile's rows of scales begin, those of its tokens and, behind them, of its
// weights. Tokens behind the tile's end have the last one's (those of a tile without any, A's first), and columns
// behind N likewise: nothing of them is written.
template <KernelSpec SPEC>
EXPERTILE_DEVICE const float* scales_of(const KernelArgs& args, const OutputTile& tile, int row) {
  constexpr int kTokens = token_scales(SPEC);
  const int scales_k = ceil_divide(args.k, SPEC.block_k);
  if (row < kTokens) {
    if (tile.rows == 0) return args.scale_a;
    return args.scale_a + (tile.row + (row < tile.rows ? row : tile.rows - 1)) * scales_k;
  }
  const long long n_blocks = ceil_divide(args.n, SPEC.block_n);
  const int column = tile.column + (row - kTokens) * columns_per_scale(SPEC);
  const int block_n = (column < args.n ? column : args.n - 1) / SPEC.block_n;
  return args.scale_b + (tile.expert * n_blocks + block_n) * scales_k;
}

// Scales of COUNT (2 or 4) scale blocks along K one after the other, in a lane's registers.
template <int COUNT>
struct ScaleVector {
  using Bytes = ptx::Bytes16;
};
template <>
struct ScaleVector<2> {
  using Bytes = ptx::Bytes8;
};
// The index-th such scales of a row that begins at `from`, loaded at once where the row allows it: one by one, each of
// them costs the way to the L1. Behind the last block, the last one's. scales_k: of a row.
template <int COUNT>
EXPERTILE_DEVICE typename ScaleVector<COUNT>::Bytes load_scale_vector(const float* from, int index, int scales_k) {
  using Bytes = typename ScaleVector<COUNT>::Bytes;
  const auto address = reinterpret_cast<unsigned long long>(from);
  if (scales_k % COUNT == 0 && address % sizeof(Bytes) == 0) {
    return ptx::load_global(reinterpret_cast<const Bytes*>(from) + index);
  }
  Bytes scales;
#pragma unroll
  for (int j = 0; j < COUNT; ++j) {
    const int block = COUNT * index + j < scales_k ? COUNT * index + j : scales_k - 1;
    scales.word[j] = ptx::load_global(reinterpret_cast<const unsigned*>(from + block));
  }
  return scales;
}
EXPERTILE_DEVICE unsigned scale_of(const ptx::Bytes8& scales, int block) {
  return block % 2 == 0 ? scales.word[0] : scales.word[1];
}
EXPERTILE_DEVICE unsigned scale_of(const ptx::Bytes16& scales, int block) {
  const unsigned even = block % 4 < 2 ? scales.word[0] : scales.word[2];
  const unsigned odd = block % 4 < 2 ? scales.word[1] : scales.word[3];
  return block % 2 == 0 ? even : odd;
}

// For all k-blocks of all of the block's tiles; the index-th warp of those that share the rows of scales. The next few
// of each row are loaded as soon as the last of those before has been stored, and used when their stage has been read:
// whoever waited for memory then would never get ahead of the consumers.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void produce_scales(const KernelArgs& args, int index) {
  using S = Shape<SPEC>;
  constexpr SharedLayout kAt = kLayout<SPEC>;
  constexpr int kTokens = token_scales(SPEC);
  constexpr int kRows = kTokens + weight_scales(SPEC);
  constexpr int kRounds = ceil_divide(kRows, 32 * scale_warps(SPEC));
  constexpr int kCount = kRounds > 2 ? 2 : 4;  // these warps have few registers
  const int lane = ptx::thread_index() % 32;
  const int first_row = 32 * kRounds * index + lane;
  const int k_blocks = k_block_count<SPEC>(args.k);
  const int scales_k = ceil_divide(args.k, SPEC.block_k);
  StageCursor cursor;
  for (int wave = 0;; ++wave) {
    const OutputTile tile = pop_tile<SPEC>(wave);
    if (tile.rows < 0) return;
    const float* from[kRounds];
#pragma unroll
    for (int r = 0; r < kRounds; ++r) from[r] = scales_of<SPEC>(args, tile, first_row + 32 * r);
    typename ScaleVector<kCount>::Bytes scales[kRounds] = {};
    int loaded = -1;  // which they are
    for (int i = 0; i < k_blocks; ++i, next<SPEC>(cursor)) {
      const Stage stage = stage_at<SPEC>(cursor);
#pragma unroll
      for (int span = 0; span < S::kSpans; ++span) {
        const int k = (first_k_block<SPEC>(args.k) + i) * S::kTile.block_size_k + span * span_elements(SPEC);
        const int block = (k < args.k ? k : args.k - 1) / SPEC.block_k;  // behind K zeros are scaled
        if (block / kCount != loaded) {
          loaded = block / kCount;
#pragma unroll
          for (int r = 0; r < kRounds; ++r) {
            if (first_row + 32 * r < kRows) scales[r] = load_scale_vector<kCount>(from[r], loaded, scales_k);
          }
        }
        if (span == 0) ptx::mbarrier_wait(stage.empty, stage.parity ^ 1);  // those before have been read
        const unsigned to = stage.scales + static_cast<unsigned>(span * kAt.span_scale_bytes);
#pragma unroll
        for (int r = 0; r < kRounds; ++r) {
          const int row = first_row + 32 * r;
          const unsigned offset = row < kTokens ? scale_offset<SPEC>(row) : static_cast<unsigned>(4 * row);
          if (row < kRows) ptx::store_shared(to + offset, scale_of(scales[r], block));
        }
      }
      arrive_for_warp<SPEC>(stage.full, lane);
    }
  }
}

// Where those lie that a lane needs of the first stage, for its first token and its first weights: in registers, so
// that they are not worked out anew at every k-block, which would keep its first product waiting.
struct ScaleAddresses {
  unsigned tokens = 0;
  unsigned weights = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE ScaleAddresses scale_addresses(const Consumer& consumer) {
  constexpr auto kScales = static_cast<unsigned>(kLayout<SPEC>.scales);
  const int weights = token_scales(SPEC) + (Shape<SPEC>::kSwapped ? consumer.warpgroup_x / 64 : 0);
  ScaleAddresses at{ptx::shared_address(kScales + scale_offset<SPEC>(consumer.x + consumer.lane / 4)),
                    ptx::shared_address(kScales + static_cast<unsigned>(4 * weights))};
  ptx::fence_operand(at.tokens);
  ptx::fence_operand(at.weights);
  return at;
}

// The scales of a span that a lane's sums of a subtile need.
template <KernelSpec SPEC, MmaTile MMA>
struct SubtileScales {
  using S = Shape<SPEC>;
  static constexpr int kTokens = reads_scales_late(SPEC) || !SPEC.scales_a ? 0 : 2 * MMA.blocks;
  static constexpr int kWeights = S::kSwapped ? MMA.blocks : ceil_divide(MMA.columns, columns_per_scale(SPEC));
  unsigned at = 0;  // the span's
  float token[kTokens > 0 ? kTokens : 1];
  float weight[kWeights];
};
template <KernelSpec SPEC, MmaTile MMA>
EXPERTILE_DEVICE SubtileScales<SPEC, MMA> load_scales(const ScaleAddresses& first, int stage, int span,
                                                      const Subtile& subtile) {
  using S = Shape<SPEC>;
  using Scales = SubtileScales<SPEC, MMA>;
  constexpr SharedLayout kAt = kLayout<SPEC>;
  const auto bytes = static_cast<unsigned>(stage * kAt.stage_scale_bytes + span * kAt.span_scale_bytes);
  Scales scales;
  scales.at = static_cast<unsigned>(kAt.scales) + bytes;
#pragma unroll
  for (int j = 0; j < Scales::kTokens; j += 2) {
    const int row = 64 * (subtile.x + j / 2);
    const ptx::Bytes8 two = ptx::load_two_at(first.tokens + bytes + static_cast<unsigned>(4 * row));
    scales.token[j] = ptx::float_from_bits(two.word[0]);
    scales.token[j + 1] = ptx::float_from_bits(two.word[1]);
  }
  const int weight = S::kSwapped ? subtile.x : 8 * subtile.y / columns_per_scale(SPEC);
#pragma unroll
  for (int j = 0; j < Scales::kWeights; ++j) {
    scales.weight[j] =
        ptx::float_from_bits(ptx::load_word_at(first.weights + bytes + static_cast<unsigned>(4 * (weight + j))));
  }
  return scales;
}

// What the sums of 8 columns, y-th of the tile and n-th of the subtile, in block m of the subtile are multiplied with:
// a lane's first two sums, and the two 8 rows below.
template <KernelSpec SPEC, MmaTile MMA>
EXPERTILE_DEVICE void factors_of(const SubtileScales<SPEC, MMA>& scales, int lane, int m, int n, int y,
                                 float (&factor)[4]) {
  if constexpr (!SPEC.scales_a) {
    for (float& one : factor) one = scales.weight[Shape<SPEC>::kSwapped ? m : 8 * n / columns_per_scale(SPEC)];
  } else if constexpr (Shape<SPEC>::kSwapped) {
    const auto two = ptx::load_shared<ptx::Bytes8>(scales.at + scale_offset<SPEC>(8 * y + 2 * (lane % 4)));
#pragma unroll
    for (int i = 0; i < 4; ++i) factor[i] = ptx::float_from_bits(two.word[i % 2]) * scales.weight[m];
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      factor[i] = scales.token[2 * m + i / 2] * scales.weight[8 * n / columns_per_scale(SPEC)];
    }
  }
}

}  // namespace expertile::sm90
