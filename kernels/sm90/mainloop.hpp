#pragma once
// The product of one tile by warpgroups: a ring of stages that one warp keeps full by bulk tensor copies, and that the
// others empty by wgmma.
//
// A stage holds, for each operand, boxes of [rows, 128 bytes of K]. Each stage has two barriers: `full`, whose phase
// ends when the copies are there, and `empty`, whose phase ends when every warp that multiplies has read them. Slices
// of K are numbered through all tiles of a block: slice i goes to stage i % stages, in the (i / stages)-th phases.

#include <ptx90.hpp>
#include <wgmma.hpp>

#include "scaling.hpp"
#include "scheduler.hpp"
#include "sm90/widened.hpp"

namespace expertile::sm90 {

// The type of a warpgroup's sums as the tensor core keeps them.
template <bool INTEGER>
struct SumType {
  using Type = float;
};
template <>
struct SumType<true> {
  using Type = int;
};

// What is fixed at compile time, worked out once. X takes the tensor core's 64 rows, Y its columns.
template <KernelSpec SPEC>
struct Shape {
  static constexpr TileConfig kTile = SPEC.tile;
  static constexpr bool kSwapped = kTile.swap_ab != 0;
  static constexpr int kX = blocks_x(kTile);
  static constexpr int kColumns = tile_y(kTile);
  static constexpr int kY = kColumns / 8;
  static constexpr int kStages = kTile.num_stages;
  static constexpr int kBoxesA = stage_boxes(SPEC, SPEC.a);
  static constexpr int kBoxesB = stage_boxes(SPEC, SPEC.b);
  static constexpr int kBoxA = box_rows_a(SPEC) * kBoxBytes;  // bytes
  static constexpr int kBoxB = box_rows_b(SPEC) * kBoxBytes;
  static constexpr int kStageBytes = kBoxesA * kBoxA + kBoxesB * kBoxB;
  static constexpr int kSpans = kTile.block_size_k / span_elements(SPEC);
  static constexpr int kSteps = kBoxBytes / 32;  // products a box of the operands in shared memory
  static constexpr bool kWidens = widens_weights(SPEC.product);
  using Accumulator = typename SumType<SPEC.product == Product::int8>::Type;
  using Total = typename SumType<SPEC.product == Product::int8 && !promotes(SPEC)>::Type;
};

template <KernelSpec SPEC>
EXPERTILE_DEVICE int slice_count(int k) {
  return ceil_divide(k, SPEC.tile.block_size_k);
}

// Where slice `index` lies, and the barriers that guard it. A stage: the boxes of A, then those of B.
template <KernelSpec SPEC>
struct Place {
  using S = Shape<SPEC>;
  unsigned a = 0;
  unsigned b = 0;
  unsigned full = 0;
  unsigned empty = 0;
  int parity = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE Place<SPEC> place_of(int index) {
  using S = Shape<SPEC>;
  const int stage = index % S::kStages;
  Place<SPEC> place;
  place.a = static_cast<unsigned>(stage * S::kStageBytes);
  place.b = place.a + S::kBoxesA * S::kBoxA;
  place.full = static_cast<unsigned>(S::kStages * S::kStageBytes + 16 * stage);
  place.empty = place.full + 8;
  place.parity = index / S::kStages % 2;
  return place;
}

// Where warpgroups take turns, one may begin to wait for its slices only when the other has seen all of its own: a wait
// tells phases apart by their parity alone, so it must never be two phases ahead. Warpgroup w waits at its own barrier
// for the other, which arrives there with its four warps. The first turn is nobody's to wait for.
struct Turns {
  unsigned mine = 0;
  unsigned others = 0;
  int parity = 0;
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE Turns turns_of(int warpgroup, int turn) {
  constexpr auto kBarriers = static_cast<unsigned>(SPEC.tile.num_stages * (Shape<SPEC>::kStageBytes + 16));
  const unsigned mine = kBarriers + static_cast<unsigned>(8 * warpgroup);
  return {mine, 2 * kBarriers + 8 - mine, turn / 2 % 2 ^ (warpgroup == 0 ? 1 : 0)};
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE void begin_turn(const Turns& turns) {
  if constexpr (SPEC.tile.pingpong != 0) ptx::mbarrier_wait(turns.mine, turns.parity);
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE void end_turn(const Turns& turns, int lane) {
  if constexpr (SPEC.tile.pingpong != 0) {
    if (lane == 0) ptx::mbarrier_arrive(turns.others);
  }
}

// By one thread, before anything else.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void init_ring() {
  for (int stage = 0; stage < SPEC.tile.num_stages; ++stage) {
    const Place<SPEC> place = place_of<SPEC>(stage);
    ptx::mbarrier_init(place.full, 1);                        // the copying thread; the bytes count themselves
    ptx::mbarrier_init(place.empty, 4 * sharers(SPEC.tile));  // a thread of every warp that reads the stage
  }
  const Turns turns = turns_of<SPEC>(0, 0);
  ptx::mbarrier_init(turns.mine, 4);
  ptx::mbarrier_init(turns.others, 4);
  ptx::mbarrier_fence_inits();
}

// By one thread: the copies of all slices of a tile, the first of which has number `index`. Rows behind the group's end
// are copied too, and those behind the matrix's become zero: what is made of them is never written.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void copy_tile(const TiledArgs& in, const OutputTile& tile, int index) {
  using S = Shape<SPEC>;
  const int slices = slice_count<SPEC>(in.args.k);
  const int row_a = static_cast<int>(tile.row);
  const int row_b = static_cast<int>(tile.expert) * in.args.n + tile.column;
  for (int i = 0; i < slices; ++i) {
    const Place<SPEC> place = place_of<SPEC>(index + i);
    ptx::mbarrier_wait(place.empty, place.parity ^ 1);  // what the stage held before has been read
    ptx::mbarrier_arrive_expecting(place.full, S::kStageBytes);
    const int k = i * S::kTile.block_size_k;
#pragma unroll
    for (int box = 0; box < S::kBoxesB; ++box) {
      ptx::copy_box(place.b + static_cast<unsigned>(box * S::kBoxB), in.b, k + box * box_elements(SPEC.b), row_b,
                    place.full);
    }
#pragma unroll
    for (int box = 0; box < S::kBoxesA; ++box) {
      ptx::copy_box(place.a + static_cast<unsigned>(box * S::kBoxA), in.a, k + box * box_elements(SPEC.a), row_a,
                    place.full);
    }
  }
}

// A warp's place in the tile.
struct WarpPlace {
  int lane = 0;
  int group = 0;  // first row of X of its warpgroup
  int x = 0;      // first row of X of its own in every block of 64
};

// Starts sums (+)= X x Y^T over one box, for all blocks of 64 rows.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void multiply_box(typename Shape<SPEC>::Accumulator (&sums)[Shape<SPEC>::kX][Shape<SPEC>::kY][4],
                                   const Place<SPEC>& place, const WarpPlace& warp, int box, bool continues) {
  using S = Shape<SPEC>;
  const unsigned a = place.a + static_cast<unsigned>(box * S::kBoxA);
  const unsigned b = place.b + static_cast<unsigned>(box * S::kBoxB);
  const unsigned x = (S::kSwapped ? b : a) + static_cast<unsigned>(warp.group * kBoxBytes);
  const unsigned y = S::kSwapped ? a : b;
#pragma unroll
  for (int step = 0; step < S::kSteps; ++step) {
    const unsigned within = static_cast<unsigned>(32 * step);
#pragma unroll
    for (int m = 0; m < S::kX; ++m) {
      ptx::wgmma<SPEC.product, S::kColumns>(sums[m],
                                            ptx::matrix_operand(x + static_cast<unsigned>(64 * m * kBoxBytes) + within),
                                            ptx::matrix_operand(y + within), continues || step > 0 ? 1 : 0);
    }
  }
}

// Weights in registers, widened: those of the products under way, and of the next.
template <KernelSpec SPEC>
struct Widened {
  using S = Shape<SPEC>;
  static constexpr int kSteps = widened_steps(S::kTile);
  static constexpr int kPartsASpan = span_elements(SPEC) / 16 / kSteps;  // a product takes 16 elements of K
  unsigned x[2][kSteps][S::kX][4];
};

// Starts sums (+)= X x Y^T over part `part` of a stage, whose X goes through registers. The part before the last one
// has been waited for: its registers are used again.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void multiply_part(typename Shape<SPEC>::Accumulator (&sums)[Shape<SPEC>::kX][Shape<SPEC>::kY][4],
                                    Widened<SPEC>& weights, const Place<SPEC>& place, const WarpPlace& warp, int part,
                                    bool continues) {
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
      ptx::wgmma_from_registers<SPEC.product, S::kColumns>(sums[m], x[i][m], y, continues || i > 0 ? 1 : 0);
    }
  }
}

// Starts all products of one span of a stage; of widened weights the last part's are the only ones under way.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void multiply_span(typename Shape<SPEC>::Accumulator (&sums)[Shape<SPEC>::kX][Shape<SPEC>::kY][4],
                                    [[maybe_unused]] Widened<SPEC>& weights, const Place<SPEC>& place,
                                    const WarpPlace& warp, int span) {
  if constexpr (Shape<SPEC>::kWidens) {
    constexpr int kParts = Widened<SPEC>::kPartsASpan;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      multiply_part<SPEC>(sums, weights, place, warp, span * kParts + part, part > 0);
      ptx::wgmma_commit();
      if (part + 1 < kParts) ptx::wgmma_wait<1>();
    }
  } else {
    ptx::wgmma_fence();
    multiply_box<SPEC>(sums, place, warp, span, false);
    ptx::wgmma_commit();
  }
}

// This warp has read the stage.
EXPERTILE_DEVICE void release(unsigned empty, int lane) {
  if (lane == 0) ptx::mbarrier_arrive(empty);
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
template <KernelSpec SPEC>
EXPERTILE_DEVICE void multiply_plain(const KernelArgs& args, const WarpPlace& warp, const Turns& turns, int index,
                                     typename Shape<SPEC>::Total (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
  constexpr int kParts = S::kWidens ? S::kSpans * Widened<SPEC>::kPartsASpan : 1;
  const int slices = slice_count<SPEC>(args.k);
  [[maybe_unused]] Widened<SPEC> weights;
  begin_turn<SPEC>(turns);
  for (int i = 0; i < slices; ++i) {
    const Place<SPEC> place = place_of<SPEC>(index + i);
    ptx::mbarrier_wait(place.full, place.parity);  // the slice is there
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      if constexpr (S::kWidens) {
        multiply_part<SPEC>(total, weights, place, warp, part, i > 0 || part > 0);
      } else {
        ptx::wgmma_fence();
#pragma unroll
        for (int box = 0; box < S::kSpans; ++box) multiply_box<SPEC>(total, place, warp, box, i > 0 || box > 0);
      }
      ptx::wgmma_commit();
      ptx::wgmma_wait<1>();  // the part before has been read
      if (part == 0 && i > 0) release(place_of<SPEC>(index + i - 1).empty, warp.lane);
    }
  }
  end_turn<SPEC>(turns, warp.lane);
  ptx::wgmma_wait<0>();
  hold_all(total);
  release(place_of<SPEC>(index + slices - 1).empty, warp.lane);
}

// The scales of one span: of the tokens and the weights of this lane's sums.
template <KernelSpec SPEC>
struct BoxScales {
  using S = Shape<SPEC>;
  static constexpr int kTokens = S::kSwapped ? 2 * S::kY : 2 * S::kX;
  // Blocks of the weights' scales that a warpgroup's part of the tile spans: whole ones, or one and no other.
  static constexpr int kColumnsAScale = SPEC.block_n > 0 && SPEC.block_n < S::kColumns ? SPEC.block_n : S::kColumns;
  static constexpr int kWeights = S::kSwapped ? S::kX : S::kColumns / kColumnsAScale;
  float token[kTokens];
  float weight[kWeights];
};

template <KernelSpec SPEC>
EXPERTILE_DEVICE void load_scales(BoxScales<SPEC>& scales, const KernelArgs& args, const OutputTile& tile,
                                  const WarpPlace& warp, int k) {
  using S = Shape<SPEC>;
  using Scales = BoxScales<SPEC>;
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

// total += sums * scales, in float32.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void promote(float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4],
                              const typename Shape<SPEC>::Accumulator (&sums)[Shape<SPEC>::kX][Shape<SPEC>::kY][4],
                              const BoxScales<SPEC>& scales) {
  using S = Shape<SPEC>;
#pragma unroll
  for (int m = 0; m < S::kX; ++m) {
#pragma unroll
    for (int n = 0; n < S::kY; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if constexpr (SPEC.scaling == Scaling::block) {
          const float token = scales.token[S::kSwapped ? 2 * n + i % 2 : 2 * m + i / 2];
          const float weight = scales.weight[S::kSwapped ? m : 8 * n / BoxScales<SPEC>::kColumnsAScale];
          total[m][n][i] += static_cast<float>(sums[m][n][i]) * (token * weight);
        } else {
          total[m][n][i] += static_cast<float>(sums[m][n][i]);
        }
      }
    }
  }
}

// Sums that are taken over into float32 after every span. The other warpgroups' products fill the tensor cores
// meanwhile, and the next span's scales are on their way.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void multiply_promoting(const KernelArgs& args, const OutputTile& tile, const WarpPlace& warp,
                                         const Turns& turns, int index,
                                         float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4]) {
  using S = Shape<SPEC>;
  const int slices = slice_count<SPEC>(args.k);
  typename S::Accumulator sums[S::kX][S::kY][4];
  [[maybe_unused]] Widened<SPEC> weights;
  BoxScales<SPEC> next{};
  // A span wholly behind K has no scales, and adds zeros.
  const auto load_next = [&](int k) {
    if constexpr (SPEC.scaling == Scaling::block) {
      if (k < args.k) load_scales<SPEC>(next, args, tile, warp, k);
    }
  };
  load_next(0);
  begin_turn<SPEC>(turns);
  for (int i = 0; i < slices; ++i) {
    const Place<SPEC> place = place_of<SPEC>(index + i);
#pragma unroll
    for (int span = 0; span < S::kSpans; ++span) {
      const BoxScales<SPEC> scales = next;
      load_next(i * S::kTile.block_size_k + (span + 1) * span_elements(SPEC));
      if (span == 0) ptx::mbarrier_wait(place.full, place.parity);  // the slice is there
      multiply_span<SPEC>(sums, weights, place, warp, span);
      ptx::wgmma_wait<0>();
      hold_all(sums);
      if (span == S::kSpans - 1) release(place.empty, warp.lane);
      if (i == slices - 1 && span == S::kSpans - 1) end_turn<SPEC>(turns, warp.lane);
      promote<SPEC>(total, sums, scales);
    }
  }
}

}  // namespace expertile::sm90
