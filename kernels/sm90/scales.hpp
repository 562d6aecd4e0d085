#pragma once
// Scales of blocks on their way to the sums. A warp of its own brings those of a stage's spans into shared memory, as
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

// A token's scale of a block of K. four: its scales of four neighbouring blocks, the latest that were loaded. They lie
// side by side, so that one load in four slices does: scattered loads of 4 bytes each would take a sector of 32 of the
// L2 for every token and slice, a sixth of what its weights and tokens take. from: of the token's first block; wide:
// rows of scales begin at multiples of 16 bytes. is_new: block is the first that is asked for of this token.
EXPERTILE_DEVICE float scale_of(ptx::Bytes16& four, const float* from, int block, bool wide, bool is_new) {
  if (!wide) return ptx::load_global(from + block);
  if (is_new || block % 4 == 0) {
    four = ptx::load_global(reinterpret_cast<const ptx::Bytes16*>(from + block / 4 * 4));
  }
  const unsigned low = block % 2 == 0 ? four.word[0] : four.word[1];
  const unsigned high = block % 2 == 0 ? four.word[2] : four.word[3];
  return ptx::float_from_bits(block % 4 < 2 ? low : high);
}

// For all slices of all of the block's tiles; the part-th warp of those that share the tokens. Tokens behind the
// group's end get zero, columns behind N the last one's scale: nothing of either is written.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void bring_scales(const KernelArgs& args, int part) {
  using S = Shape<SPEC>;
  constexpr int kTokens = token_scales(SPEC);
  constexpr int kWeights = weight_scales(SPEC);
  constexpr int kRounds = ceil_divide(kTokens, 32 * scale_warps(SPEC));
  static_assert(kWeights <= 32, "one a lane");
  const int lane = ptx::thread_index() % 32;
  const int first = 32 * kRounds * part + lane;  // token
  const bool has_weight = part == 0 && lane < kWeights;
  const int slices = slice_count<SPEC>(args.k);
  const int k_blocks = ceil_divide(args.k, SPEC.block_k);
  const long long n_blocks = ceil_divide(args.n, SPEC.block_n);
  const bool wide = k_blocks % 4 == 0 && reinterpret_cast<unsigned long long>(args.scale_a) % 16 == 0;
  GroupCursor groups;
  Slot slot;
  for (int turn = 0;; ++turn) {
    const OutputTile tile = take_tile<SPEC>(args, groups, turn);
    if (tile.rows < 0) return;
    const float* const tokens = args.scale_a + tile.row * k_blocks;
    const int column = tile.column + lane * columns_a_scale(SPEC);
    const int block_n = (column < args.n ? column : args.n - 1) / SPEC.block_n;
    const float* const weights = args.scale_b + (tile.expert * n_blocks + block_n) * k_blocks;
    ptx::Bytes16 four[kRounds > 0 ? kRounds : 1] = {};
    for (int i = 0; i < slices; ++i, next<SPEC>(slot)) {
      const Place<SPEC> place = place_of<SPEC>(slot);
      int token_here = first;
      ptx::hold(token_here);  // no registers are kept for where the scales of each lie
#pragma unroll
      for (int span = 0; span < S::kSpans; ++span) {
        const int k = (first_slice<SPEC>(args.k) + i) * S::kTile.block_size_k + span * span_elements(SPEC);
        const int block = (k < args.k ? k : args.k - 1) / SPEC.block_k;  // behind K zeros are scaled
        float scale[kRounds > 0 ? kRounds : 1];
#pragma unroll
        for (int r = 0; r < kRounds; ++r) {
          const int row = token_here + 32 * r;
          scale[r] =
              row < tile.rows ? scale_of(four[r], tokens + row * k_blocks, block, wide, i == 0 && span == 0) : 0.0F;
        }
        const float weight = has_weight ? ptx::load_global(weights + block) : 0.0F;
        if (span == 0) ptx::mbarrier_wait(place.empty, place.parity ^ 1);  // those before have been read
        const unsigned to = place.scales + static_cast<unsigned>(span * span_scale_bytes(SPEC));
#pragma unroll
        for (int r = 0; r < kRounds; ++r) {
          const int row = token_here + 32 * r;
          if (row < kTokens) ptx::store_shared(to + scale_place<SPEC>(row), scale[r]);
        }
        if (has_weight) ptx::store_shared(to + static_cast<unsigned>(4 * (kTokens + lane)), weight);
      }
      if constexpr (arrivals_a_warp(SPEC) == 1) ptx::warp_barrier();
      if (arrivals_a_warp(SPEC) > 1 || lane == 0) ptx::mbarrier_arrive(place.full);
    }
  }
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
EXPERTILE_DEVICE PieceScales<SPEC, EXTENT> load_scales(const Place<SPEC>& place, int span, const WarpPlace& warp,
                                                       const Piece& piece) {
  using S = Shape<SPEC>;
  using Scales = PieceScales<SPEC, EXTENT>;
  Scales scales;
  scales.at = place.scales + static_cast<unsigned>(span * span_scale_bytes(SPEC));
#pragma unroll
  for (int j = 0; j < Scales::kTokens; j += 2) {
    const int row = warp.x + 64 * (piece.x + j / 2) + warp.lane / 4;
    const auto two = ptx::load_shared<ptx::Bytes8>(scales.at + scale_place<SPEC>(row));
    scales.token[j] = ptx::float_from_bits(two.word[0]);
    scales.token[j + 1] = ptx::float_from_bits(two.word[1]);
  }
  const int first = S::kSwapped ? warp.group / 64 + piece.x : 8 * piece.y / columns_a_scale(SPEC);
#pragma unroll
  for (int j = 0; j < Scales::kWeights; ++j) {
    const int weight = token_scales(SPEC) + first + j;
    scales.weight[j] = ptx::load_shared<float>(scales.at + static_cast<unsigned>(4 * weight));
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
