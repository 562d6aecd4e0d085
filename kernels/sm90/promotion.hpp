#pragma once
// Products whose sums leave the tensor core's registers on the way along K, into float32 beside them: after every span
// for scales of blocks of K, and now and then for e4m3, of whose sums the tensor core keeps few bits.

#include "sm90/mainloop.hpp"
#include "sm90/scales.hpp"

namespace expertile::sm90 {

// A sum of int8 products goes into the mantissa of 1.5 * 2^23, which is four times as fast as converting it, and exact:
// those of a span, of at most 128 elements of K, are at most 2^21.
EXPERTILE_DEVICE float float_of(int sum) {
  return ptx::float_from_bits(0x4b400000U + static_cast<unsigned>(sum)) - 12582912.0F;
}
EXPERTILE_DEVICE float float_of(float sum) { return sum; }

// total += sums, in float32, for the EXTENT of a piece.
template <KernelSpec SPEC, Extent EXTENT, class Sums>
EXPERTILE_DEVICE void promote(float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4], const Sums& sums,
                              const Piece& piece) {
#pragma unroll
  for (int m = 0; m < EXTENT.blocks; ++m) {
#pragma unroll
    for (int n = 0; n < EXTENT.columns / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) total[piece.x + m][piece.y + n][i] += sums[m][n][i];
    }
  }
}
// Likewise, with scales.
template <KernelSpec SPEC, Extent EXTENT, class Sums>
EXPERTILE_DEVICE void promote_scaled(float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4], const Sums& sums,
                                     const PieceScales<SPEC, EXTENT>& scales, int lane, const Piece& piece) {
  static_assert(span_elements(SPEC) <= 128);
#pragma unroll
  for (int n = 0; n < EXTENT.columns / 8; ++n) {
#pragma unroll
    for (int m = 0; m < EXTENT.blocks; ++m) {
      float factor[4];
      factors_of<SPEC, EXTENT>(scales, lane, m, n, piece.y + n, factor);
#pragma unroll
      for (int i = 0; i < 4; ++i) total[piece.x + m][piece.y + n][i] += float_of(sums[m][n][i]) * factor[i];
    }
  }
}

// Starts the products of one span of a stage, of a piece.
template <KernelSpec SPEC, Extent EXTENT, class Sums>
EXPERTILE_DEVICE void start_piece(Sums& sums, const Operands& stage, int span, const Piece& piece) {
  ptx::wgmma_fence();
  multiply_box<SPEC, EXTENT, false>(sums, operands_behind<SPEC>(stage, span, piece));
  ptx::wgmma_commit();
}
// Likewise of weights that go through registers, which are no pieces.
template <KernelSpec SPEC, Extent EXTENT, class Sums>
EXPERTILE_DEVICE void start_held_span(Sums& sums, Held<SPEC>& weights, const Place<SPEC>& place, const WarpPlace& warp,
                                      int span) {
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
}

// The products of SLICES slices into one sum that is then taken over.
template <KernelSpec SPEC, Extent EXTENT, int SLICES, class Sums>
EXPERTILE_DEVICE void multiply_run(Sums& sums, const WarpPlace& warp, Turns& turns, Slot& slot, bool is_last,
                                   float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
  unsigned before = 0;  // `empty` of the slice before
#pragma unroll
  for (int i = 0; i < SLICES; ++i, next<SPEC>(slot)) {
    const Place<SPEC> place = place_of<SPEC>(slot);
    ptx::mbarrier_wait(place.full, place.parity);  // the slice is there
    const Operands operands = operands_of<SPEC>(place, warp);
    ptx::wgmma_fence();
#pragma unroll
    for (int span = 0; span < S::kSpans; ++span) {
      const Operands at = operands_behind<SPEC>(operands, span, {});
      if (i + span > 0) {
        multiply_box<SPEC, EXTENT, true>(sums, at);
      } else {
        multiply_box<SPEC, EXTENT, false>(sums, at);
      }
    }
    ptx::wgmma_commit();
    if (i > 0) {
      ptx::wgmma_wait<1>();  // the slice before has been read
      release<SPEC>(before, warp.lane);
    }
    before = place.empty;
  }
  ptx::wgmma_wait<0>();
  hold_all(sums);
  release<SPEC>(before, warp.lane);
  if (is_last) end_tile<SPEC>(turns, warp.lane);
  promote<SPEC, EXTENT>(total, sums, {});
}

// Sums without scales along K are taken over every kLongestSum elements: as seldom as their accuracy allows.
template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void multiply_long_sums(const KernelArgs& args, const WarpPlace& warp, Turns& turns, Slot& slot,
                                         float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
  constexpr int kSlices = kLongestSum / S::kTile.block_size_k;
  const int slices = slice_count<SPEC>(args.k);
  typename S::Accumulator sums[EXTENT.blocks][EXTENT.columns / 8][4];
  begin_tile<SPEC>(turns);
  int i = 0;
  for (; i + kSlices <= slices; i += kSlices) {
    multiply_run<SPEC, EXTENT, kSlices>(sums, warp, turns, slot, i + kSlices == slices, total);
  }
  for (; i < slices; ++i) multiply_run<SPEC, EXTENT, 1>(sums, warp, turns, slot, i + 1 == slices, total);
}

// A slice's sums are taken over in portions: span by span, and piece by piece in each.
template <KernelSpec SPEC, Extent EXTENT>
struct Portions {
  static constexpr Extent kPiece = piece_of(SPEC, EXTENT);
  static constexpr int kPiecesX = EXTENT.blocks / kPiece.blocks;
  static constexpr int kPieces = kPiecesX * (EXTENT.columns / kPiece.columns);
  static constexpr int kCount = Shape<SPEC>::kSpans * kPieces;
  using Sums = typename Shape<SPEC>::Accumulator[kPiece.blocks][kPiece.columns / 8][4];
  static constexpr int span(int portion) { return portion / kPieces; }
  static constexpr Piece piece(int portion) {
    const int piece = portion % kPieces;
    return {piece % kPiecesX * kPiece.blocks, piece / kPiecesX * (kPiece.columns / 8)};
  }
};
template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void start_portion(typename Portions<SPEC, EXTENT>::Sums& sums, [[maybe_unused]] Held<SPEC>& weights,
                                    const Place<SPEC>& place, const Operands& operands, const WarpPlace& warp,
                                    int portion) {
  using P = Portions<SPEC, EXTENT>;
  if constexpr (Shape<SPEC>::kHolds) {
    start_held_span<SPEC, EXTENT>(sums, weights, place, warp, P::span(portion));
  } else {
    start_piece<SPEC, P::kPiece>(sums, operands, P::span(portion), P::piece(portion));
  }
}

// The operands of the slice of a slot. first: those of the ring's first stage. Brought to where the products take their
// addresses from while others are under way: of places in the lanes' registers each product would be kept waiting.
template <KernelSpec SPEC>
EXPERTILE_DEVICE Operands operands_at(const Operands& first, const Slot& slot) {
  const int behind = slot.stage * Shape<SPEC>::kStageBytes;
  return {ptx::uniform(ptx::behind(first.x, behind)), ptx::uniform(ptx::behind(first.y, behind))};
}

// Sums that are taken over after every span, with its scales if there are any, portion by portion, of one slice or
// more. The other warpgroup's products fill the tensor cores meanwhile, if what comes between a warpgroup's own does
// not take longer than they do. So little else than taking over is left between the last sum and the next product: a
// slice's operands and scales are got ready while the products before it are under way. Those of two portions never are
// at the same time: the compiler would lose track of the sums that are there.
template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void multiply_spans(const KernelArgs& args, const WarpPlace& warp, Turns& turns, Slot& slot,
                                     float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using P = Portions<SPEC, EXTENT>;
  constexpr bool kScales = SPEC.scaling == Scaling::block;
  constexpr bool kReadsLate = kScales && reads_scales_late(SPEC);
  typename P::Sums sums;
  Held<SPEC> weights;
  const Operands first = operands_of<SPEC>(place_of<SPEC>({}), warp);
  [[maybe_unused]] ScaleAddresses first_scales;
  if constexpr (kScales) first_scales = scale_addresses<SPEC>(warp);
  begin_tile<SPEC>(turns);
  Place<SPEC> place = place_of<SPEC>(slot);
  ptx::mbarrier_wait(place.full, place.parity);
  start_portion<SPEC, EXTENT>(sums, weights, place, operands_at<SPEC>(first, slot), warp, 0);
  for (int left = slice_count<SPEC>(args.k);; --left) {
    const int stage = slot.stage;
    const Operands operands = operands_at<SPEC>(first, slot);  // anew: handed on, they would be the lanes' own again
    next<SPEC>(slot);
    const Operands following_operands = operands_at<SPEC>(first, slot);
#pragma unroll
    for (int i = 0; i < P::kCount; ++i) {
      const bool is_last = i == P::kCount - 1;
      [[maybe_unused]] PieceScales<SPEC, P::kPiece> scales;
      if constexpr (kScales) scales = load_scales<SPEC, P::kPiece>(first_scales, stage, P::span(i), P::piece(i));
      ptx::wgmma_wait<0>();
      hold_all(sums);
      if (is_last && left == 1) end_tile<SPEC>(turns, warp.lane);
      if (is_last && !kReadsLate) release<SPEC>(place.empty, warp.lane);
      if constexpr (kScales) {
        promote_scaled<SPEC, P::kPiece>(total, sums, scales, warp.lane, P::piece(i));
      } else {
        promote<SPEC, P::kPiece>(total, sums, P::piece(i));
      }
      if (is_last && kReadsLate) release<SPEC>(place.empty, warp.lane);
      if (!is_last) {
        start_portion<SPEC, EXTENT>(sums, weights, place, operands, warp, i + 1);
        continue;
      }
      if (left == 1) return;
      place = place_of<SPEC>(slot);
      ptx::mbarrier_wait(place.full, place.parity);
      start_portion<SPEC, EXTENT>(sums, weights, place, following_operands, warp, 0);
    }
  }
}

template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void multiply_promoting(const KernelArgs& args, const WarpPlace& warp, Turns& turns, Slot& slot,
                                         float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  if constexpr (promotes_spans(SPEC)) {
    multiply_spans<SPEC, EXTENT>(args, warp, turns, slot, total);
  } else {
    multiply_long_sums<SPEC, EXTENT>(args, warp, turns, slot, total);
  }
}

}  // namespace expertile::sm90
