#pragma once
// The product of one tile by warpgroups, slice by slice as the ring brings them.

#include <wgmma.hpp>

#include "scaling.hpp"
#include "sm90/ring.hpp"
#include "sm90/split.hpp"
#include "sm90/widened.hpp"

namespace expertile::sm90 {

// A warp's place in the tile.
struct WarpPlace {
  int lane = 0;
  int group = 0;  // first row of X of its warpgroup
  int x = 0;      // first row of X of its own in every block of 64
  int owner = 0;  // whose slabs it fills: the number of its warp, or of its warpgroup (slabs.hpp)
};

// Where a piece of a warpgroup's part of the tile begins: blocks of 64 rows, and 8s of columns.
struct Piece {
  int x = 0;
  int y = 0;
};

// Where a warpgroup's rows of X begin in a stage, and the columns: ptx::matrix_place's.
struct Operands {
  unsigned x = 0;
  unsigned y = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE Operands operands_of(const Place<SPEC>& place, const WarpPlace& warp) {
  const unsigned rows = Shape<SPEC>::kSwapped ? place.b : place.a;
  return {ptx::matrix_place(rows + static_cast<unsigned>(warp.group * kBoxBytes)),
          ptx::matrix_place(Shape<SPEC>::kSwapped ? place.a : place.b)};
}
// Those of a piece of one of the stage's boxes.
template <KernelSpec SPEC>
EXPERTILE_DEVICE Operands operands_behind(const Operands& stage, int box, const Piece& piece) {
  using S = Shape<SPEC>;
  return {ptx::behind(stage.x, box * (S::kSwapped ? S::kBoxB : S::kBoxA) + 64 * piece.x * kBoxBytes),
          ptx::behind(stage.y, box * (S::kSwapped ? S::kBoxA : S::kBoxB) + 8 * piece.y * kBoxBytes)};
}

// Starts sums = X x Y^T over one box, or += where it ADDS.
template <KernelSpec SPEC, Extent EXTENT, bool ADDS, class Sums>
EXPERTILE_DEVICE void multiply_box(Sums& sums, const Operands& at) {
#pragma unroll
  for (int step = 0; step < Shape<SPEC>::kSteps; ++step) {
    const unsigned long long y = ptx::matrix_operand(ptx::behind(at.y, 32 * step));
#pragma unroll
    for (int m = 0; m < EXTENT.blocks; ++m) {
      const unsigned long long x = ptx::matrix_operand(ptx::behind(at.x, 64 * m * kBoxBytes + 32 * step));
      if (ADDS || step > 0) {
        ptx::wgmma<SPEC.product, EXTENT.columns, true>(sums[m], x, y);
      } else {
        ptx::wgmma<SPEC.product, EXTENT.columns, false>(sums[m], x, y);
      }
    }
  }
}

// Weights in registers: those of the products under way, and of the next. Split ones have two parts, large and small.
template <KernelSpec SPEC>
struct Held {
  using S = Shape<SPEC>;
  static constexpr int kSteps = held_steps(SPEC);
  static constexpr int kSetsASpan = span_elements(SPEC) / S::kStepElements / kSteps;
  unsigned x[2][kSteps][S::kX][held_parts(SPEC.product)][4];
};

// One step's weights of 16 rows, from `row` of the tile on.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void load_held(unsigned (&x)[held_parts(SPEC.product)][4], const Place<SPEC>& place, int row, int lane,
                                int step) {
  constexpr int kStepsABox = box_elements(SPEC.b) / Shape<SPEC>::kStepElements;
  const unsigned box = place.b + static_cast<unsigned>(step / kStepsABox * Shape<SPEC>::kBoxB);
  if constexpr (Shape<SPEC>::kSplits) {
    load_split(x, box + matrix_row(row, lane), step % kStepsABox);
  } else {
    load_widened<SPEC.product>(x[0], box + first_pair(row, lane), step % kStepsABox);
  }
}

// Starts sums = x X y^T, or += where it ADDS, of one step. Of parts the small terms come first: they would be lost
// behind the large ones.
template <KernelSpec SPEC, Extent EXTENT, bool ADDS, class Sums>
EXPERTILE_DEVICE void multiply_step(Sums& sums, const unsigned (&x)[held_parts(SPEC.product)][4], unsigned long long y,
                                    [[maybe_unused]] unsigned long long small_y) {
  if constexpr (Shape<SPEC>::kSplits) {
    ptx::wgmma_from_registers<SPEC.product, EXTENT.columns, ADDS>(sums, x[1], y);
    ptx::wgmma_from_registers<SPEC.product, EXTENT.columns, true>(sums, x[0], small_y);
    ptx::wgmma_from_registers<SPEC.product, EXTENT.columns, true>(sums, x[0], y);
  } else {
    ptx::wgmma_from_registers<SPEC.product, EXTENT.columns, ADDS>(sums, x[0], y);
  }
}

// Starts sums = X x Y^T, or += where it ADDS, over set `set` of a stage's steps, whose X goes through registers. The
// set before the last one has been waited for: its registers are used again.
template <KernelSpec SPEC, Extent EXTENT, bool ADDS, class Sums>
EXPERTILE_DEVICE void multiply_held(Sums& sums, Held<SPEC>& weights, const Place<SPEC>& place, const WarpPlace& warp,
                                    int set) {
  using S = Shape<SPEC>;
  constexpr int kSteps = Held<SPEC>::kSteps;
  auto& x = weights.x[set % 2];
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
#pragma unroll
    for (int m = 0; m < S::kX; ++m) {
      load_held<SPEC>(x[i][m], place, warp.x + 64 * m, warp.lane, set * kSteps + i);
    }
  }
  if constexpr (S::kSplits) {
    if (set == 0) ptx::mbarrier_wait(place.split, place.parity);  // the tokens' small parts are there
  }
  ptx::warp_barrier();  // whoever releases the stage knows that all lanes have read it
  ptx::wgmma_fence();
  const unsigned tokens = ptx::matrix_place(place.a);
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    const int step = set * kSteps + i;
    const unsigned at = ptx::behind(tokens, step / S::kSteps * S::kBoxA + step % S::kSteps * 32);
    const unsigned long long y = ptx::matrix_operand(at);
    const unsigned long long small_y = ptx::matrix_operand(ptx::behind(at, S::kBoxesA * S::kBoxA));
#pragma unroll
    for (int m = 0; m < S::kX; ++m) {
      if (ADDS || i > 0) {
        multiply_step<SPEC, EXTENT, true>(sums[m], x[i][m], y, small_y);
      } else {
        multiply_step<SPEC, EXTENT, false>(sums[m], x[i][m], y, small_y);
      }
    }
  }
}

template <class Sums>
EXPERTILE_DEVICE void hold_all(Sums& sums) {
  for (auto& block : sums) {
    for (auto& column : block) {
      for (auto& sum : column) ptx::hold(sum);
    }
  }
}

// Sums that stay in the tensor core's registers to the end. The products of one slice (of one set of its steps where
// weights go through registers) are always under way while the next one's are started.
template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void multiply_plain(const KernelArgs& args, const WarpPlace& warp, Turns& turns, Slot& slot,
                                     typename Shape<SPEC>::Total (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
  constexpr int kSets = S::kHolds ? S::kSpans * Held<SPEC>::kSetsASpan : 1;
  static_assert(!S::kHolds || kSets % 2 == 0, "sets of registers take turns from slice to slice");
  const int slices = slice_count<SPEC>(args.k);
  [[maybe_unused]] Held<SPEC> weights;
  hold_all(total);  // zero by now: the compiler would put that off until products are under way, and serialise them
  begin_tile<SPEC>(turns);
  Place<SPEC> place = place_of<SPEC>(slot);
  unsigned before = 0;  // `empty` of the slice before
  for (int i = 0; i < slices; ++i) {
    ptx::mbarrier_wait(place.full, place.parity);  // the slice is there
#pragma unroll
    for (int set = 0; set < kSets; ++set) {
      if constexpr (S::kHolds) {
        multiply_held<SPEC, EXTENT, true>(total, weights, place, warp, set);
      } else {
        const Operands operands = operands_of<SPEC>(place, warp);
        ptx::wgmma_fence();
#pragma unroll
        for (int span = 0; span < S::kSpans; ++span) {
          multiply_box<SPEC, EXTENT, true>(total, operands_behind<SPEC>(operands, span, {}));
        }
      }
      ptx::wgmma_commit();
      ptx::wgmma_wait<1>();  // the set before has been read
      if (set == 0 && i > 0) release<SPEC>(before, warp.lane);
    }
    before = place.empty;
    next<SPEC>(slot);
    place = place_of<SPEC>(slot);
  }
  end_tile<SPEC>(turns, warp.lane);
  ptx::wgmma_wait<0>();
  hold_all(total);
  release<SPEC>(before, warp.lane);
}

}  // namespace expertile::sm90
