#pragma once
// Products whose sums leave the tensor core's registers after every span of K, into float32 beside them: for scales of
// blocks of K, and for e4m3, of whose sums the tensor core keeps few bits.

#include "sm90/mainloop.hpp"

namespace expertile::sm90 {

// The scales of one span: of the tokens and the weights of this lane's sums.
template <KernelSpec SPEC, Extent EXTENT>
struct BoxScales {
  using S = Shape<SPEC>;
  static constexpr int kTokens = S::kSwapped ? EXTENT.columns / 4 : 2 * EXTENT.blocks;
  // Blocks of the weights' scales that a warpgroup's part of the tile spans: whole ones, or one and no other.
  static constexpr int kColumnsAScale = SPEC.block_n > 0 && SPEC.block_n < S::kColumns ? SPEC.block_n : S::kColumns;
  static constexpr int kWeights = S::kSwapped ? EXTENT.blocks : S::kColumns / kColumnsAScale;
  float token[kTokens];
  float weight[kWeights];
};

template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void load_scales(BoxScales<SPEC, EXTENT>& scales, const KernelArgs& args, const OutputTile& tile,
                                  const WarpPlace& warp, int k) {
  using S = Shape<SPEC>;
  using Scales = BoxScales<SPEC, EXTENT>;
  const int k_blocks = ceil_divide(args.k, SPEC.block_k);
  const int block = k / SPEC.block_k;
#pragma unroll
  for (int j = 0; j < Scales::kWeights; ++j) {
    const int column = S::kSwapped ? warp.group + 64 * j : j * Scales::kColumnsAScale;
    scales.weight[j] = weight_scale<SPEC>(args, tile, column, block, k_blocks);
  }
#pragma unroll
  for (int j = 0; j < Scales::kTokens; ++j) {
    const int row =
        S::kSwapped ? 8 * (j / 2) + 2 * (warp.lane % 4) + j % 2 : warp.x + 64 * (j / 2) + 8 * (j % 2) + warp.lane / 4;
    scales.token[j] = token_scale<SPEC>(args, tile, row, block, k_blocks);
  }
}

// total += sums * scales, in float32, for one part.
template <KernelSpec SPEC, Extent EXTENT, class Sums>
EXPERTILE_DEVICE void promote(float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4], const Sums& sums, int part,
                              const BoxScales<SPEC, EXTENT>& scales) {
  using S = Shape<SPEC>;
  constexpr Extent kPart = part_of(SPEC, EXTENT);
#pragma unroll
  for (int m = 0; m < kPart.blocks; ++m) {
#pragma unroll
    for (int n = 0; n < kPart.columns / 8; ++n) {
      const int block = begin_of(SPEC, EXTENT, part).blocks + m;
      const int column = begin_of(SPEC, EXTENT, part).columns / 8 + n;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float& sum = total[block][column][i];
        if constexpr (SPEC.scaling == Scaling::block) {
          const float token = scales.token[S::kSwapped ? 2 * column + i % 2 : 2 * block + i / 2];
          const float weight =
              scales.weight[S::kSwapped ? block : 8 * column / BoxScales<SPEC, EXTENT>::kColumnsAScale];
          sum += static_cast<float>(sums[m][n][i]) * (token * weight);
        } else {
          sum += static_cast<float>(sums[m][n][i]);
        }
      }
    }
  }
}

// Starts the products of one span of a stage, for one part of the sums; of widened weights the last products are the
// only ones under way then.
template <KernelSpec SPEC, Extent EXTENT, class Sums>
EXPERTILE_DEVICE void start_span(Sums& sums, [[maybe_unused]] Widened<SPEC>& weights, const Place<SPEC>& place,
                                 const WarpPlace& warp, int span, int part) {
  constexpr Extent kPart = part_of(SPEC, EXTENT);
  if constexpr (Shape<SPEC>::kWidens) {
    constexpr int kParts = Widened<SPEC>::kPartsASpan;
#pragma unroll
    for (int i = 0; i < kParts; ++i) {
      if (i > 0) {
        multiply_widened<SPEC, kPart, true>(sums, weights, place, warp, span * kParts + i);
      } else {
        multiply_widened<SPEC, kPart, false>(sums, weights, place, warp, span * kParts + i);
      }
      ptx::wgmma_commit();
      if (i + 1 < kParts) ptx::wgmma_wait<1>();
    }
  } else {
    Operands at = operands_of<SPEC>(place, warp, span);
    const Extent begin = begin_of(SPEC, EXTENT, part);
    at.x += static_cast<unsigned>(64 * begin.blocks * kBoxBytes);
    at.y += static_cast<unsigned>(begin.columns * kBoxBytes);
    ptx::wgmma_fence();
    multiply_box<SPEC, kPart, false>(sums, at);
    ptx::wgmma_commit();
  }
}

// Sums that are taken over into float32 after every span. The second half's products are under way while the first half
// is taken over, those of other warpgroups meanwhile, and the next span's scales are on their way. No product is under
// way from one span to the next: the compiler then loses track of the sums that are there.
template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void multiply_promoting(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                         const Turns& turns, int index,
                                         float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
  constexpr int kParts = parts_of(SPEC, EXTENT);
  constexpr Extent kPart = part_of(SPEC, EXTENT);
  const int slices = slice_count<SPEC>(args.k);
  typename S::Accumulator sums[kParts][kPart.blocks][kPart.columns / 8][4];
  BoxScales<SPEC, EXTENT> next{};
  [[maybe_unused]] Widened<SPEC> weights;
  // A span wholly behind K has no scales, and adds zeros.
  const auto load_next = [&](int k) {
    if constexpr (SPEC.scaling == Scaling::block) {
      if (k < args.k) load_scales<SPEC, EXTENT>(next, args, tile, warp, k);
    }
  };
  load_next(0);
  begin_turn<SPEC>(turns);
  for (int i = 0; i < slices; ++i) {
    const Place<SPEC> place = place_of<SPEC>(index + i);
#pragma unroll
    for (int span = 0; span < S::kSpans; ++span) {
      const BoxScales<SPEC, EXTENT> scales = next;
      load_next(i * S::kTile.block_size_k + (span + 1) * span_elements(SPEC));
      if (span == 0) ptx::mbarrier_wait(place.full, place.parity);  // the slice is there
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        start_span<SPEC, EXTENT>(sums[part], weights, place, warp, span, part);
      }
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        const bool is_last = part == kParts - 1;
        if (is_last) {
          ptx::wgmma_wait<0>();
        } else {
          ptx::wgmma_wait<1>();  // this part's products are done, the next part's under way
        }
        hold_all(sums[part]);
        if (is_last && span == S::kSpans - 1) {
          release<SPEC>(place.empty, warp.lane);
          if (i == slices - 1) end_turn<SPEC>(turns, warp.lane);
        }
        promote<SPEC, EXTENT>(total, sums[part], part, scales);
      }
    }
  }
}

}  // namespace expertile::sm90
