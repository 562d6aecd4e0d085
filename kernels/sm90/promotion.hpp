#pragma once
// Products whose sums leave the tensor core's registers on the way along K, into float32 beside them: after every span
// for scales of blocks of K, and now and then for e4m3, of whose sums the tensor core keeps few bits.

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

// Where a lane finds them: what does not change along K is worked out once a tile. A row behind the group's end or a
// column behind N takes the last one's scales: nothing of it is written.
template <KernelSpec SPEC, Extent EXTENT>
struct ScaleSource {
  using Scales = BoxScales<SPEC, EXTENT>;
  const float* tokens = nullptr;  // of the tile's first row
  int last_row = 0;
  int k_blocks = 0;
  const float* weight[Scales::kWeights];
};
template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE ScaleSource<SPEC, EXTENT> scale_source(const KernelArgs& args, const OutputTile& tile,
                                                        const WarpPlace& warp) {
  using S = Shape<SPEC>;
  using Scales = BoxScales<SPEC, EXTENT>;
  ScaleSource<SPEC, EXTENT> from;
  from.k_blocks = ceil_divide(args.k, SPEC.block_k);
  from.last_row = tile.rows - 1;
  from.tokens = args.scale_a + tile.row * from.k_blocks;
  const long long n_blocks = ceil_divide(args.n, SPEC.block_n);
#pragma unroll
  for (int j = 0; j < Scales::kWeights; ++j) {
    const int column = tile.column + (S::kSwapped ? warp.group + 64 * j : j * Scales::kColumnsAScale);
    const int block = (column < args.n ? column : args.n - 1) / SPEC.block_n;
    from.weight[j] = args.scale_b + (tile.expert * n_blocks + block) * from.k_blocks;
  }
  return from;
}

template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void load_scales(BoxScales<SPEC, EXTENT>& scales, const ScaleSource<SPEC, EXTENT>& from,
                                  const WarpPlace& warp, int k) {
  using S = Shape<SPEC>;
  using Scales = BoxScales<SPEC, EXTENT>;
  const int block = k / SPEC.block_k;
#pragma unroll
  for (int j = 0; j < Scales::kWeights; ++j) scales.weight[j] = ptx::load_global(from.weight[j] + block);
#pragma unroll
  for (int j = 0; j < Scales::kTokens; ++j) {
    const int row =
        S::kSwapped ? 8 * (j / 2) + 2 * (warp.lane % 4) + j % 2 : warp.x + 64 * (j / 2) + 8 * (j % 2) + warp.lane / 4;
    const int in_group = row < from.last_row ? row : from.last_row;
    scales.token[j] = SPEC.scales_a ? ptx::load_global(from.tokens + (in_group * from.k_blocks + block)) : 1.0F;
  }
}

// total += sums * scales, in float32.
template <KernelSpec SPEC, Extent EXTENT, class Sums>
EXPERTILE_DEVICE void promote(float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4], const Sums& sums,
                              const BoxScales<SPEC, EXTENT>& scales) {
  using S = Shape<SPEC>;
#pragma unroll
  for (int m = 0; m < EXTENT.blocks; ++m) {
#pragma unroll
    for (int n = 0; n < EXTENT.columns / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if constexpr (SPEC.scaling == Scaling::block) {
          const float token = scales.token[S::kSwapped ? 2 * n + i % 2 : 2 * m + i / 2];
          const float weight = scales.weight[S::kSwapped ? m : 8 * n / BoxScales<SPEC, EXTENT>::kColumnsAScale];
          total[m][n][i] += static_cast<float>(sums[m][n][i]) * (token * weight);
        } else {
          total[m][n][i] += static_cast<float>(sums[m][n][i]);
        }
      }
    }
  }
}

// Starts the products of one span of a stage; of weights in registers the last set's are the only ones under way then.
template <KernelSpec SPEC, Extent EXTENT, class Sums>
EXPERTILE_DEVICE void start_span(Sums& sums, [[maybe_unused]] Held<SPEC>& weights, const Place<SPEC>& place,
                                 const WarpPlace& warp, int span) {
  if constexpr (Shape<SPEC>::kHolds) {
    constexpr int kSets = Held<SPEC>::kSetsASpan;
#pragma unroll
    for (int i = 0; i < kSets; ++i) {
      if (i > 0) {
        multiply_held<SPEC, EXTENT, true>(sums, weights, place, warp, span * kSets + i);
      } else {
        multiply_held<SPEC, EXTENT, false>(sums, weights, place, warp, span * kSets + i);
      }
      ptx::wgmma_commit();
      if (i + 1 < kSets) ptx::wgmma_wait<1>();
    }
  } else {
    ptx::wgmma_fence();
    multiply_box<SPEC, EXTENT, false>(sums, operands_of<SPEC>(place, warp, span));
    ptx::wgmma_commit();
  }
}

// The products of SLICES slices, the first of which has number `index`, into one sum that is then taken over.
template <KernelSpec SPEC, Extent EXTENT, int SLICES, class Sums>
EXPERTILE_DEVICE void multiply_run(Sums& sums, const WarpPlace& warp, const Turns& turns, int index, bool is_last,
                                   float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
#pragma unroll
  for (int i = 0; i < SLICES; ++i) {
    const Place<SPEC> place = place_of<SPEC>(index + i);
    ptx::mbarrier_wait(place.full, place.parity);  // the slice is there
    ptx::wgmma_fence();
#pragma unroll
    for (int span = 0; span < S::kSpans; ++span) {
      const Operands at = operands_of<SPEC>(place, warp, span);
      if (i + span > 0) {
        multiply_box<SPEC, EXTENT, true>(sums, at);
      } else {
        multiply_box<SPEC, EXTENT, false>(sums, at);
      }
    }
    ptx::wgmma_commit();
    if (i == 0) continue;
    ptx::wgmma_wait<1>();  // the slice before has been read
    release<SPEC>(place_of<SPEC>(index + i - 1).empty, warp.lane);
  }
  ptx::wgmma_wait<0>();
  hold_all(sums);
  release<SPEC>(place_of<SPEC>(index + SLICES - 1).empty, warp.lane);
  if (is_last) end_turn<SPEC>(turns, warp.lane);
  promote<SPEC, EXTENT>(total, sums, {});
}

// Sums without scales along K are taken over every kLongestSum elements: as seldom as their accuracy allows.
template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void multiply_long_sums(const KernelArgs& args, const WarpPlace& warp, const Turns& turns, int index,
                                         float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
  constexpr int kSlices = kLongestSum / S::kTile.block_size_k;
  const int slices = slice_count<SPEC>(args.k);
  typename S::Accumulator sums[EXTENT.blocks][EXTENT.columns / 8][4];
  begin_turn<SPEC>(turns);
  int i = 0;
  for (; i + kSlices <= slices; i += kSlices) {
    multiply_run<SPEC, EXTENT, kSlices>(sums, warp, turns, index + i, i + kSlices == slices, total);
  }
  for (; i < slices; ++i) multiply_run<SPEC, EXTENT, 1>(sums, warp, turns, index + i, i + 1 == slices, total);
}

// Sums that are taken over after every span, with its scales. The other warpgroups' products fill the tensor cores
// meanwhile, and the next span's scales are on their way. No product is under way from one span to the next: the
// compiler would lose track of the sums that are there.
template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void multiply_scaled_spans(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                            const Turns& turns, int index,
                                            float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
  const int slices = slice_count<SPEC>(args.k);
  typename S::Accumulator sums[EXTENT.blocks][EXTENT.columns / 8][4];
  const ScaleSource<SPEC, EXTENT> source = scale_source<SPEC, EXTENT>(args, tile, warp);
  BoxScales<SPEC, EXTENT> next{};
  [[maybe_unused]] Held<SPEC> weights;
  // A span wholly behind K has no scales, and adds zeros.
  const auto load_next = [&](int k) {
    if (k < args.k) load_scales<SPEC, EXTENT>(next, source, warp, k);
  };
  load_next(0);
  begin_turn<SPEC>(turns);
  for (int i = 0; i < slices; ++i) {
    const Place<SPEC> place = place_of<SPEC>(index + i);
#pragma unroll
    for (int span = 0; span < S::kSpans; ++span) {
      const BoxScales<SPEC, EXTENT> scales = next;
      if (span == 0) ptx::mbarrier_wait(place.full, place.parity);  // the slice is there
      start_span<SPEC, EXTENT>(sums, weights, place, warp, span);
      load_next(i * S::kTile.block_size_k + (span + 1) * span_elements(SPEC));  // beside the products
      ptx::wgmma_wait<0>();
      hold_all(sums);
      if (span == S::kSpans - 1) {
        release<SPEC>(place.empty, warp.lane);
        if (i == slices - 1) end_turn<SPEC>(turns, warp.lane);
      }
      promote<SPEC, EXTENT>(total, sums, scales);
    }
  }
}

template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void multiply_promoting(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                         const Turns& turns, int index,
                                         float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  if constexpr (SPEC.scaling == Scaling::block) {
    multiply_scaled_spans<SPEC, EXTENT>(args, tile, warp, turns, index, total);
  } else {
    multiply_long_sums<SPEC, EXTENT>(args, warp, turns, index, total);
  }
}

}  // namespace expertile::sm90
