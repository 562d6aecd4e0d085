#pragma once
// Products whose sums are promoted on the way along K, from the tensor core's registers into float32 totals beside
// them: after every span for scales of blocks of K, and every kLongestSum elements for e4m3, of whose sums the tensor
// core keeps few bits.

#include "sm90/mainloop.hpp"
#include "sm90/scales.hpp"

namespace expertile::sm90 {

// A sum of int8 products goes into the mantissa of 1.5 * 2^23, which is four times as fast as converting it, and exact:
// those of a span, of at most 128 elements of K, are at most 2^21.
EXPERTILE_DEVICE float float_of(int sum) {
  return ptx::float_from_bits(0x4b400000U + static_cast<unsigned>(sum)) - 12582912.0F;
}
EXPERTILE_DEVICE float float_of(float sum) { return sum; }

// total += sums, in float32, of a subtile.
template <KernelSpec SPEC, MmaTile MMA, class Sums>
EXPERTILE_DEVICE void promote(Totals<SPEC>& total, const Sums& sums, const Subtile& subtile) {
#pragma unroll
  for (int m = 0; m < MMA.blocks; ++m) {
#pragma unroll
    for (int n = 0; n < MMA.columns / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) total[subtile.x + m][subtile.y + n][i] += sums[m][n][i];
    }
  }
}
// Likewise, with scales.
template <KernelSpec SPEC, MmaTile MMA, class Sums>
EXPERTILE_DEVICE void promote_scaled(Totals<SPEC>& total, const Sums& sums, const SubtileScales<SPEC, MMA>& scales,
                                     int lane, const Subtile& subtile) {
  static_assert(span_elements(SPEC) <= 128);
#pragma unroll
  for (int n = 0; n < MMA.columns / 8; ++n) {
#pragma unroll
    for (int m = 0; m < MMA.blocks; ++m) {
      float factor[4];
      factors_of<SPEC, MMA>(scales, lane, m, n, subtile.y + n, factor);
#pragma unroll
      for (int i = 0; i < 4; ++i) total[subtile.x + m][subtile.y + n][i] += float_of(sums[m][n][i]) * factor[i];
    }
  }
}

// Starts the products of one span of a stage, of a subtile.
template <KernelSpec SPEC, MmaTile MMA, class Sums>
EXPERTILE_DEVICE void start_subtile(Sums& sums, const Operands& stage, int span, const Subtile& subtile) {
  ptx::wgmma_fence();
  multiply_panel<SPEC, MMA, false>(sums, operands_of_subtile<SPEC>(stage, span, subtile));
  ptx::wgmma_commit();
}
// Likewise of weights that go through registers, which have no subtiles.
template <KernelSpec SPEC, MmaTile MMA, class Sums>
EXPERTILE_DEVICE void start_span_from_registers(Sums& sums, RegisterWeights<SPEC>& weights, const Stage& stage,
                                                const Consumer& consumer, int span) {
  constexpr int kSets = RegisterWeights<SPEC>::kSetsPerSpan;
#pragma unroll
  for (int i = 0; i < kSets; ++i) {
    if (i > 0) {
      multiply_from_registers<SPEC, MMA, true>(sums, weights, stage, consumer, span * kSets + i);
    } else {
      multiply_from_registers<SPEC, MMA, false>(sums, weights, stage, consumer, span * kSets + i);
    }
    ptx::wgmma_commit();
    if (i + 1 < kSets) ptx::wgmma_wait<1>();
  }
}

// ---- without scales along K ---------------------------------------------------------------------------------------

// The products of K_BLOCKS k-blocks into one sum that is then promoted.
template <KernelSpec SPEC, MmaTile MMA, int K_BLOCKS, class Sums>
EXPERTILE_DEVICE void multiply_run(Sums& sums, Consumer& consumer, bool is_last, Totals<SPEC>& total) {
  using S = Shape<SPEC>;
  unsigned before = 0;  // `empty` of the k-block before
#pragma unroll
  for (int i = 0; i < K_BLOCKS; ++i, next<SPEC>(consumer.cursor)) {
    const Stage stage = wait_for_stage<SPEC>(consumer);
    const Operands operands = operands_of<SPEC>(stage, consumer);
    ptx::wgmma_fence();
#pragma unroll
    for (int span = 0; span < S::kSpans; ++span) {
      const Operands at = operands_of_subtile<SPEC>(operands, span, {});
      if (i + span > 0) {
        multiply_panel<SPEC, MMA, true>(sums, at);
      } else {
        multiply_panel<SPEC, MMA, false>(sums, at);
      }
    }
    ptx::wgmma_commit();
    if (i > 0) {
      ptx::wgmma_wait<1>();  // the k-block before has been read
      release<SPEC>(before, consumer.lane);
    }
    before = stage.empty;
  }
  ptx::wgmma_wait<0>();
  fence_operands(sums);
  release<SPEC>(before, consumer.lane);
  if (is_last) end_tile<SPEC>(consumer);
  promote<SPEC, MMA>(total, sums, {});
}

// Sums without scales along K are promoted every kLongestSum elements: as seldom as their accuracy allows.
template <KernelSpec SPEC, MmaTile MMA>
EXPERTILE_DEVICE void multiply_long_sums(const KernelArgs& args, Consumer& consumer, Totals<SPEC>& total) {
  using S = Shape<SPEC>;
  constexpr int kRun = kLongestSum / S::kTile.block_size_k;  // k-blocks
  const int k_blocks = k_block_count<SPEC>(args.k);
  typename S::Accumulator sums[MMA.blocks][MMA.columns / 8][4];
  begin_tile<SPEC>(consumer);
  int i = 0;
  for (; i + kRun <= k_blocks; i += kRun) {
    multiply_run<SPEC, MMA, kRun>(sums, consumer, i + kRun == k_blocks, total);
  }
  for (; i < k_blocks; ++i) multiply_run<SPEC, MMA, 1>(sums, consumer, i + 1 == k_blocks, total);
}

// ---- after every span ---------------------------------------------------------------------------------------------

// The promotions of a k-block: span by span, and subtile by subtile in each.
template <KernelSpec SPEC, MmaTile MMA>
struct Promotions {
  static constexpr MmaTile kSubtile = subtile_of(SPEC, MMA);
  static constexpr int kSubtilesX = MMA.blocks / kSubtile.blocks;
  static constexpr int kSubtiles = kSubtilesX * (MMA.columns / kSubtile.columns);
  static constexpr int kCount = Shape<SPEC>::kSpans * kSubtiles;
  using Sums = typename Shape<SPEC>::Accumulator[kSubtile.blocks][kSubtile.columns / 8][4];
  static constexpr int span(int index) { return index / kSubtiles; }
  static constexpr Subtile subtile(int index) {
    const int subtile = index % kSubtiles;
    return {subtile % kSubtilesX * kSubtile.blocks, subtile / kSubtilesX * (kSubtile.columns / 8)};
  }
};
// Starts the products whose sums promotion `index` of a k-block takes.
template <KernelSpec SPEC, MmaTile MMA>
EXPERTILE_DEVICE void start_promotion(typename Promotions<SPEC, MMA>::Sums& sums,
                                      [[maybe_unused]] RegisterWeights<SPEC>& weights, const Stage& stage,
                                      const Operands& operands, const Consumer& consumer, int index) {
  using P = Promotions<SPEC, MMA>;
  if constexpr (Shape<SPEC>::kRegisterWeights) {
    start_span_from_registers<SPEC, MMA>(sums, weights, stage, consumer, P::span(index));
  } else {
    start_subtile<SPEC, P::kSubtile>(sums, operands, P::span(index), P::subtile(index));
  }
}

// The operands of the cursor's stage. first: those of the first stage. Brought to where the products take their
// addresses from while others are under way: of addresses in the lanes' registers each product would be kept waiting.
template <KernelSpec SPEC>
EXPERTILE_DEVICE Operands operands_at(const Operands& first, const StageCursor& cursor) {
  const int bytes = cursor.stage * kLayout<SPEC>.stage_bytes;
  return {ptx::uniform(ptx::advance_descriptor(first.x, bytes)), ptx::uniform(ptx::advance_descriptor(first.y, bytes))};
}

// Sums that are promoted after every span, with its scales if there are any, promotion by promotion, of one k-block or
// more. The other warpgroup's products fill the tensor cores meanwhile, if what comes between a warpgroup's own does
// not take longer than they do. So little else than promoting is left between the last sum and the next product: a
// k-block's operands and scales are got ready while the products before it are under way. Those of two promotions never
// are at the same time: the compiler would lose track of the sums that are there.
template <KernelSpec SPEC, MmaTile MMA>
EXPERTILE_DEVICE void multiply_spans(const KernelArgs& args, Consumer& consumer, Totals<SPEC>& total) {
  using P = Promotions<SPEC, MMA>;
  constexpr bool kScales = SPEC.scaling == Scaling::block;
  constexpr bool kReadsLate = kScales && reads_scales_late(SPEC);
  StageCursor& cursor = consumer.cursor;
  typename P::Sums sums;
  RegisterWeights<SPEC> weights;
  const Operands first = operands_of<SPEC>(stage_at<SPEC>({}), consumer);
  [[maybe_unused]] ScaleAddresses first_scales;
  if constexpr (kScales) first_scales = scale_addresses<SPEC>(consumer);
  begin_tile<SPEC>(consumer);
  Stage stage = wait_for_stage<SPEC>(consumer);
  start_promotion<SPEC, MMA>(sums, weights, stage, operands_at<SPEC>(first, cursor), consumer, 0);
  for (int left = k_block_count<SPEC>(args.k);; --left) {
    const int stage_number = cursor.stage;
    const Operands operands = operands_at<SPEC>(first, cursor);  // anew: kept, they would be the lanes' own again
    next<SPEC>(cursor);
    const Operands following_operands = operands_at<SPEC>(first, cursor);
#pragma unroll
    for (int i = 0; i < P::kCount; ++i) {
      const bool is_last = i == P::kCount - 1;
      [[maybe_unused]] SubtileScales<SPEC, P::kSubtile> scales;
      if constexpr (kScales) {
        scales = load_scales<SPEC, P::kSubtile>(first_scales, stage_number, P::span(i), P::subtile(i));
      }
      ptx::wgmma_wait<0>();
      fence_operands(sums);
      if (is_last && left == 1) end_tile<SPEC>(consumer);
      if (is_last && !kReadsLate) release<SPEC>(stage.empty, consumer.lane);
      if constexpr (kScales) {
        promote_scaled<SPEC, P::kSubtile>(total, sums, scales, consumer.lane, P::subtile(i));
      } else {
        promote<SPEC, P::kSubtile>(total, sums, P::subtile(i));
      }
      if (is_last && kReadsLate) release<SPEC>(stage.empty, consumer.lane);
      if (!is_last) {
        start_promotion<SPEC, MMA>(sums, weights, stage, operands, consumer, i + 1);
        continue;
      }
      if (left == 1) return;
      stage = wait_for_stage<SPEC>(consumer);
      start_promotion<SPEC, MMA>(sums, weights, stage, following_operands, consumer, 0);
    }
  }
}

template <KernelSpec SPEC, MmaTile MMA>
EXPERTILE_DEVICE void multiply_promoting(const KernelArgs& args, Consumer& consumer, Totals<SPEC>& total) {
  if constexpr (promotes_spans(SPEC)) {
    multiply_spans<SPEC, MMA>(args, consumer, total);
  } else {
    multiply_long_sums<SPEC, MMA>(args, consumer, total);
  }
}

}  // namespace expertile::sm90
