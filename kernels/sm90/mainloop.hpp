#pragma once
// The product of one tile by consumer warpgroups, k-block by k-block as the pipeline brings them.

#include <wgmma.hpp>

#include "sm90/consumer.hpp"
#include "sm90/residuals.hpp"
#include "sm90/widened.hpp"

namespace expertile::sm90 {

// Where a subtile of a warpgroup's part of the tile begins: blocks of 64 rows, and 8s of columns.
struct Subtile {
  int x = 0;
  int y = 0;
};

// Where a warpgroup's rows of X begin in a stage, and the columns: ptx::descriptor_base's.
struct Operands {
  unsigned x = 0;
  unsigned y = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE Operands operands_of(const Stage& stage, const Consumer& consumer) {
  const unsigned rows = Shape<SPEC>::kSwapped ? stage.b : stage.a;
  return {ptx::descriptor_base(rows + static_cast<unsigned>(consumer.warpgroup_x * kSwizzleBytes)),
          ptx::descriptor_base(Shape<SPEC>::kSwapped ? stage.a : stage.b)};
}
// Those of a subtile of one of the stage's panels.
template <KernelSpec SPEC>
EXPERTILE_DEVICE Operands operands_of_subtile(const Operands& stage, int panel, const Subtile& subtile) {
  using S = Shape<SPEC>;
  constexpr int kPanelX = S::kSwapped ? S::kPanelBytesB : S::kPanelBytesA;
  constexpr int kPanelY = S::kSwapped ? S::kPanelBytesA : S::kPanelBytesB;
  return {ptx::advance_descriptor(stage.x, panel * kPanelX + 64 * subtile.x * kSwizzleBytes),
          ptx::advance_descriptor(stage.y, panel * kPanelY + 8 * subtile.y * kSwizzleBytes)};
}

// Starts sums = X x Y^T over one panel, or += where it ADDS.
template <KernelSpec SPEC, MmaTile MMA, bool ADDS, class Sums>
EXPERTILE_DEVICE void multiply_panel(Sums& sums, const Operands& at) {
#pragma unroll
  for (int step = 0; step < Shape<SPEC>::kSteps; ++step) {
    const unsigned long long y = ptx::descriptor(ptx::advance_descriptor(at.y, 32 * step));
#pragma unroll
    for (int m = 0; m < MMA.blocks; ++m) {
      const unsigned long long x = ptx::descriptor(ptx::advance_descriptor(at.x, 64 * m * kSwizzleBytes + 32 * step));
      if (ADDS || step > 0) {
        ptx::wgmma<SPEC.product, MMA.columns, true>(sums[m], x, y);
      } else {
        ptx::wgmma<SPEC.product, MMA.columns, false>(sums[m], x, y);
      }
    }
  }
}

// ---- weights that go through registers ----------------------------------------------------------------------------

// Those of the products under way, and of the next. For tf32x3 as two terms, large and small.
template <KernelSpec SPEC>
struct RegisterWeights {
  using S = Shape<SPEC>;
  static constexpr int kSteps = register_steps(SPEC);
  static constexpr int kSetsPerSpan = span_elements(SPEC) / S::kStepElements / kSteps;
  unsigned x[2][kSteps][S::kX][weight_terms(SPEC.product)][4];
};

// One step's weights of 16 rows, from `row` of the tile on.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void load_weights(unsigned (&x)[weight_terms(SPEC.product)][4], const Stage& stage, int row, int lane,
                                   int step) {
  constexpr int kStepsPerPanel = panel_elements(SPEC.b) / Shape<SPEC>::kStepElements;
  const unsigned panel = stage.b + static_cast<unsigned>(step / kStepsPerPanel * Shape<SPEC>::kPanelBytesB);
  if constexpr (Shape<SPEC>::kResiduals) {
    load_weight_terms(x, panel + matrix_row(row, lane), step % kStepsPerPanel);
  } else {
    load_widened<SPEC.product>(x[0], panel + first_pair(row, lane), step % kStepsPerPanel);
  }
}

// Starts sums = X x Y^T, or += where it ADDS, of one step. Of tf32x3 the small products come first: they would be lost
// behind the large ones.
template <KernelSpec SPEC, MmaTile MMA, bool ADDS, class Sums>
EXPERTILE_DEVICE void multiply_step(Sums& sums, const unsigned (&x)[weight_terms(SPEC.product)][4],
                                    unsigned long long y, [[maybe_unused]] unsigned long long residual_y) {
  if constexpr (Shape<SPEC>::kResiduals) {
    ptx::wgmma_from_registers<SPEC.product, MMA.columns, ADDS>(sums, x[1], y);
    ptx::wgmma_from_registers<SPEC.product, MMA.columns, true>(sums, x[0], residual_y);
    ptx::wgmma_from_registers<SPEC.product, MMA.columns, true>(sums, x[0], y);
  } else {
    ptx::wgmma_from_registers<SPEC.product, MMA.columns, ADDS>(sums, x[0], y);
  }
}

// Starts sums = X x Y^T, or += where it ADDS, over set `set` of a stage's steps, whose X goes through registers. The
// set before the last one has been waited for: its registers are used again.
template <KernelSpec SPEC, MmaTile MMA, bool ADDS, class Sums>
EXPERTILE_DEVICE void multiply_from_registers(Sums& sums, RegisterWeights<SPEC>& weights, const Stage& stage,
                                              const Consumer& consumer, int set) {
  using S = Shape<SPEC>;
  constexpr int kSteps = RegisterWeights<SPEC>::kSteps;
  auto& x = weights.x[set % 2];
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
#pragma unroll
    for (int m = 0; m < S::kX; ++m) {
      load_weights<SPEC>(x[i][m], stage, consumer.x + 64 * m, consumer.lane, set * kSteps + i);
    }
  }
  if constexpr (S::kResiduals) {
    if (set == 0) ptx::mbarrier_wait(stage.residuals_full, stage.parity);  // the tokens' residuals are there
  }
  ptx::warp_barrier();  // whoever releases the stage knows that all lanes have read it
  ptx::wgmma_fence();
  const unsigned tokens = ptx::descriptor_base(stage.a);
#pragma unroll
  for (int i = 0; i < kSteps; ++i) {
    const int step = set * kSteps + i;
    const unsigned at = ptx::advance_descriptor(tokens, step / S::kSteps * S::kPanelBytesA + step % S::kSteps * 32);
    const unsigned long long y = ptx::descriptor(at);
    const unsigned long long residual_y = ptx::descriptor(ptx::advance_descriptor(at, kLayout<SPEC>.residuals));
#pragma unroll
    for (int m = 0; m < S::kX; ++m) {
      if (ADDS || i > 0) {
        multiply_step<SPEC, MMA, true>(sums[m], x[i][m], y, residual_y);
      } else {
        multiply_step<SPEC, MMA, false>(sums[m], x[i][m], y, residual_y);
      }
    }
  }
}

// ---- sums that stay in the tensor core's registers ----------------------------------------------------------------

template <class Sums>
EXPERTILE_DEVICE void fence_operands(Sums& sums) {
  for (auto& block : sums) {
    for (auto& column : block) {
      for (auto& sum : column) ptx::fence_operand(sum);
    }
  }
}

// Without promotion. The products of one k-block (of one set of its steps where weights go through registers) are
// always under way while the next one's are started.
template <KernelSpec SPEC, MmaTile MMA>
EXPERTILE_DEVICE void multiply_plain(const KernelArgs& args, Consumer& consumer, Totals<SPEC>& total) {
  using S = Shape<SPEC>;
  constexpr int kSets = S::kRegisterWeights ? S::kSpans * RegisterWeights<SPEC>::kSetsPerSpan : 1;
  static_assert(!S::kRegisterWeights || kSets % 2 == 0, "sets of registers alternate from k-block to k-block");
  const int k_blocks = k_block_count<SPEC>(args.k);
  [[maybe_unused]] RegisterWeights<SPEC> weights;
  // Zero by now: the compiler would put that off until products are under way, and serialise them.
  fence_operands(total);
  begin_tile<SPEC>(consumer);
  Stage stage = stage_at<SPEC>(consumer.cursor);
  unsigned before = 0;  // `empty` of the k-block before
  for (int i = 0; i < k_blocks; ++i) {
    ptx::mbarrier_wait(stage.full, stage.parity);  // consumer wait: the k-block is there
#pragma unroll
    for (int set = 0; set < kSets; ++set) {
      if constexpr (S::kRegisterWeights) {
        multiply_from_registers<SPEC, MMA, true>(total, weights, stage, consumer, set);
      } else {
        const Operands operands = operands_of<SPEC>(stage, consumer);
        ptx::wgmma_fence();
#pragma unroll
        for (int span = 0; span < S::kSpans; ++span) {
          multiply_panel<SPEC, MMA, true>(total, operands_of_subtile<SPEC>(operands, span, {}));
        }
      }
      ptx::wgmma_commit();
      ptx::wgmma_wait<1>();  // the set before has been read
      if (set == 0 && i > 0) release<SPEC>(before, consumer.lane);
    }
    before = stage.empty;
    next<SPEC>(consumer.cursor);
    stage = stage_at<SPEC>(consumer.cursor);
  }
  end_tile<SPEC>(consumer);
  ptx::wgmma_wait<0>();
  fence_operands(total);
  release<SPEC>(before, consumer.lane);
}

}  // namespace expertile::sm90
