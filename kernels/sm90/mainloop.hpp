#pragma once
// The product of one tile by warpgroups, slice by slice as the ring brings them.

#include <wgmma.hpp>

#include "scaling.hpp"
#include "sm90/ring.hpp"
#include "sm90/widened.hpp"

namespace expertile::sm90 {

// A warp's place in the tile.
struct WarpPlace {
  int lane = 0;
  int group = 0;  // first row of X of its warpgroup
  int x = 0;      // first row of X of its own in every block of 64
};

// Where a piece of a warpgroup's part of the tile begins: blocks of 64 rows, and 8s of columns.
struct Piece {
  int x = 0;
  int y = 0;
};

// Where a warpgroup's rows of X begin in one box of the stage, and the columns.
struct Operands {
  unsigned x = 0;
  unsigned y = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE Operands operands_of(const Place<SPEC>& place, const WarpPlace& warp, int box) {
  using S = Shape<SPEC>;
  const unsigned a = place.a + static_cast<unsigned>(box * S::kBoxA);
  const unsigned b = place.b + static_cast<unsigned>(box * S::kBoxB);
  return {(S::kSwapped ? b : a) + static_cast<unsigned>(warp.group * kBoxBytes), S::kSwapped ? a : b};
}

// Starts sums = X x Y^T over steps FIRST to END of one box, or += where it ADDS.
template <KernelSpec SPEC, Extent EXTENT, bool ADDS, int FIRST, int END, class Sums>
EXPERTILE_DEVICE void multiply_steps(Sums& sums, const Operands& at) {
  const unsigned long long rows = ptx::matrix_operand(at.x);
  const unsigned long long columns = ptx::matrix_operand(at.y);
#pragma unroll
  for (int step = FIRST; step < END; ++step) {
    const auto y = ptx::behind(columns, 32 * step);
#pragma unroll
    for (int m = 0; m < EXTENT.blocks; ++m) {
      const auto x = ptx::behind(rows, 64 * m * kBoxBytes + 32 * step);
      if (ADDS || step > 0) {
        ptx::wgmma<SPEC.product, EXTENT.columns, true>(sums[m], x, y);
      } else {
        ptx::wgmma<SPEC.product, EXTENT.columns, false>(sums[m], x, y);
      }
    }
  }
}
template <KernelSpec SPEC, Extent EXTENT, bool ADDS, class Sums>
EXPERTILE_DEVICE void multiply_box(Sums& sums, const Operands& at) {
  multiply_steps<SPEC, EXTENT, ADDS, 0, Shape<SPEC>::kSteps>(sums, at);
}

// Weights in registers, widened: those of the products under way, and of the next.
template <KernelSpec SPEC>
struct Widened {
  using S = Shape<SPEC>;
  static constexpr int kSteps = widened_steps(S::kTile);
  static constexpr int kPartsASpan = span_elements(SPEC) / 16 / kSteps;  // a product takes 16 elements of K
  unsigned x[2][kSteps][S::kX][4];
};

// Starts sums = X x Y^T, or += where it ADDS, over part `part` of a stage, whose X goes through registers. The part
// before the last one has been waited for: its registers are used again.
template <KernelSpec SPEC, Extent EXTENT, bool ADDS, class Sums>
EXPERTILE_DEVICE void multiply_widened(Sums& sums, Widened<SPEC>& weights, const Place<SPEC>& place,
                                       const WarpPlace& warp, int part) {
  using S = Shape<SPEC>;
  constexpr int kSteps = Widened<SPEC>::kSteps;
  constexpr int kStepsABox = box_elements(SPEC.b) / 16;
  auto& x = weights.x[part % 2];
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    const int step = part * kSteps + i;
    const unsigned box = place.b + static_cast<unsigned>(step / kStepsABox * S::kBoxB);
#pragma unroll
    for (int m = 0; m < S::kX; ++m) {
      load_widened<SPEC.product>(x[i][m], box + first_pair(warp.x + 64 * m, warp.lane), step % kStepsABox);
    }
  }
  ptx::warp_barrier();  // whoever releases the stage knows that all lanes have read it
  ptx::wgmma_fence();
  const unsigned long long tokens = ptx::matrix_operand(place.a);
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    const int step = part * kSteps + i;
    const auto y = ptx::behind(tokens, step / S::kSteps * S::kBoxA + step % S::kSteps * 32);
#pragma unroll
    for (int m = 0; m < S::kX; ++m) {
      if (ADDS || i > 0) {
        ptx::wgmma_from_registers<SPEC.product, EXTENT.columns, true>(sums[m], x[i][m], y);
      } else {
        ptx::wgmma_from_registers<SPEC.product, EXTENT.columns, false>(sums[m], x[i][m], y);
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

// Sums that stay in the tensor core's registers to the end. The products of one slice (of one part of it where weights
// are widened) are always under way while the next one's are started.
template <KernelSpec SPEC, Extent EXTENT>
EXPERTILE_DEVICE void multiply_plain(const KernelArgs& args, const WarpPlace& warp, Turns& turns, int index,
                                     typename Shape<SPEC>::Total (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
  constexpr int kParts = S::kWidens ? S::kSpans * Widened<SPEC>::kPartsASpan : 1;
  const int slices = slice_count<SPEC>(args.k);
  [[maybe_unused]] Widened<SPEC> weights;
  begin_tile<SPEC>(turns);
  for (int i = 0; i < slices; ++i) {
    const Place<SPEC> place = place_of<SPEC>(index + i);
    ptx::mbarrier_wait(place.full, place.parity);  // the slice is there
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      if constexpr (S::kWidens) {
        multiply_widened<SPEC, EXTENT, true>(total, weights, place, warp, part);
      } else {
        ptx::wgmma_fence();
#pragma unroll
        for (int span = 0; span < S::kSpans; ++span) {
          multiply_box<SPEC, EXTENT, true>(total, operands_of<SPEC>(place, warp, span));
        }
      }
      ptx::wgmma_commit();
      ptx::wgmma_wait<1>();  // the part before has been read
      if (part == 0 && i > 0) release<SPEC>(place_of<SPEC>(index + i - 1).empty, warp.lane);
    }
  }
  end_tile<SPEC>(turns, warp.lane);
  ptx::wgmma_wait<0>();
  hold_all(total);
  release<SPEC>(place_of<SPEC>(index + slices - 1).empty, warp.lane);
}

}  // namespace expertile::sm90
