#pragma once
// The product of one tile: stages in shared memory are filled by asynchronous copies while the tensor cores multiply
// the stage that arrived.

#include "scaling.hpp"
#include "scheduler.hpp"
#include "sm80/fragments.hpp"

namespace expertile::sm80 {

// Sums of one block of K are exact integers for int8; scaled by block, their total is float32.
template <bool INTEGER>
struct SumType {
  using Type = float;
};
template <>
struct SumType<true> {
  using Type = int;
};

// What is fixed at compile time, worked out once.
template <KernelSpec SPEC>
struct Shape {
  static constexpr TileConfig kTile = SPEC.tile;
  static constexpr int kThreads = threads_of(SPEC);
  static constexpr WarpGrid kWarps = warp_grid(kTile);
  static constexpr bool kSwapped = kTile.swap_ab != 0;
  static constexpr int kX = tile_x(kTile) / kWarps.x / 16;  // blocks of 16 rows of X a warp
  static constexpr int kY = tile_y(kTile) / kWarps.y / 8;   // blocks of 8 rows of Y a warp
  static constexpr int kSteps = kTile.block_size_k / step_elements(SPEC.product) / kTile.split_k;  // a stage and warp
  static constexpr Storage kStorageX = kSwapped ? SPEC.b : SPEC.a;
  static constexpr Storage kStorageY = kSwapped ? SPEC.a : SPEC.b;
  static constexpr int kRowBytesA = kTile.block_size_k * size_of(SPEC.a);
  static constexpr int kRowBytesB = kTile.block_size_k * size_of(SPEC.b);
  static constexpr int kRowBytesX = kSwapped ? kRowBytesB : kRowBytesA;
  static constexpr int kRowBytesY = kSwapped ? kRowBytesA : kRowBytesB;
  using Accumulator = typename SumType<SPEC.product == Product::int8>::Type;
  using Total = typename SumType<SPEC.product == Product::int8 && SPEC.scaling != Scaling::block>::Type;
};

// A warp's part of the tile.
struct WarpTile {
  int lane = 0;
  int x = 0;      // first row of X
  int y = 0;      // first row of Y
  int split = 0;  // of K
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE WarpTile warp_tile() {
  using S = Shape<SPEC>;
  const int warp = ptx::thread_index() / 32;
  constexpr int kWarpsPerSplit = S::kWarps.x * S::kWarps.y;
  const int split =
      S::kTile.split_k > 1 ? warp / kWarpsPerSplit : 0;  // what is known at compile time costs no registers
  const int in_split = warp - split * kWarpsPerSplit;
  return {ptx::thread_index() % 32, in_split % S::kWarps.x * S::kX * 16, in_split / S::kWarps.x * S::kY * 8, split};
}

// The k-block that a stage holds: BLOCK_SIZE_K of K, but never across the border of a block of scales.
struct KBlock {
  int begin = 0;
  int length = 0;  // elements that exist; the rest of BLOCK_SIZE_K is zero
};
template <KernelSpec SPEC>
EXPERTILE_DEVICE int k_block_count(int k) {
  if constexpr (SPEC.scaling != Scaling::block) {
    return ceil_divide(k, SPEC.tile.block_size_k);
  } else {
    constexpr int kPerScaleBlock = ceil_divide(SPEC.block_k, SPEC.tile.block_size_k);
    return k / SPEC.block_k * kPerScaleBlock + ceil_divide(k % SPEC.block_k, SPEC.tile.block_size_k);
  }
}
template <KernelSpec SPEC>
EXPERTILE_DEVICE KBlock k_block_at(int index, int k) {
  int begin = index * SPEC.tile.block_size_k;
  int end = k;
  if constexpr (SPEC.scaling == Scaling::block) {
    constexpr int kPerScaleBlock = ceil_divide(SPEC.block_k, SPEC.tile.block_size_k);
    const int block = index / kPerScaleBlock;
    begin = block * SPEC.block_k + index % kPerScaleBlock * SPEC.tile.block_size_k;
    if ((block + 1) * SPEC.block_k < k) end = (block + 1) * SPEC.block_k;
  }
  return {begin, end - begin < SPEC.tile.block_size_k ? end - begin : SPEC.tile.block_size_k};
}

// Elements one by one into 16 bytes, for rows that do not begin at multiples of 16 bytes.
template <int ELEMENT_BYTES>
EXPERTILE_DEVICE void load_narrow(unsigned offset, const unsigned char* from, int bytes) {
  ptx::Bytes16 chunk{};
#pragma unroll
  for (int i = 0; i < 16; i += ELEMENT_BYTES) {  // a fixed count keeps the words in registers
    if (i >= bytes) continue;
    if constexpr (ELEMENT_BYTES == 4) {
      chunk.word[i / 4] = ptx::load_global(reinterpret_cast<const unsigned*>(from + i));
    } else if constexpr (ELEMENT_BYTES == 2) {
      chunk.word[i / 4] |= static_cast<unsigned>(ptx::load_global(reinterpret_cast<const unsigned short*>(from + i)))
                           << (i % 4 * 8);
    } else {
      chunk.word[i / 4] |= static_cast<unsigned>(ptx::load_global(from + i)) << (i % 4 * 8);
    }
  }
  ptx::store_shared(offset, chunk);
}

// Which rows of a tile a thread loads: one chunk of 16 bytes of every kRowsAPass-th row.
template <int ROWS, int ROW_BYTES, int THREADS>
struct LoadShape {
  static constexpr int kChunks = ROW_BYTES / 16;
  static constexpr int kRowsPerPass = THREADS / kChunks > 0 ? THREADS / kChunks : 1;
  static constexpr int kLoaders = kRowsPerPass * kChunks;
  static constexpr int kPasses = ceil_divide(ROWS, kRowsPerPass);
  static_assert(kChunks <= THREADS, "a row of a stage is loaded by one thread a chunk");
};

// A whole tile: every row and every chunk exists, so nothing is asked and addresses only grow. from: the matrix's first
// row at the k-block.
template <int ROWS, int ROW_BYTES, int THREADS>
EXPERTILE_DEVICE void load_whole_tile(unsigned tile, const unsigned char* from, long long pitch_bytes) {
  using L = LoadShape<ROWS, ROW_BYTES, THREADS>;
  const int thread = ptx::thread_index();
  if (L::kLoaders != THREADS && thread >= L::kLoaders) return;
  const int chunk = thread % L::kChunks;
  int row = thread / L::kChunks;
  const unsigned char* source = from + row * pitch_bytes + chunk * 16;
#pragma unroll
  for (int pass = 0; pass < L::kPasses; ++pass) {
    if (ROWS % L::kRowsPerPass != 0 && row >= ROWS) return;
    ptx::cp_async16(tile + swizzled<ROW_BYTES>(row, chunk), source);
    source += L::kRowsPerPass * pitch_bytes;
    row += L::kRowsPerPass;
  }
}

// Starts loading rows [0, valid_rows) of a matrix, elements of `k_block`, into a tile of ROWS rows; the rest becomes
// zero.
template <int ROWS, int ROW_BYTES, int ELEMENT_BYTES, int THREADS, bool WIDE>
EXPERTILE_DEVICE void load_tile(unsigned tile, const unsigned char* matrix, long long pitch_bytes, int valid_rows,
                                KBlock k_block) {
  using L = LoadShape<ROWS, ROW_BYTES, THREADS>;
  const unsigned char* k_block_begin = matrix + static_cast<long long>(k_block.begin) * ELEMENT_BYTES;
  if (WIDE && valid_rows >= ROWS && k_block.length * ELEMENT_BYTES == ROW_BYTES) {
    load_whole_tile<ROWS, ROW_BYTES, THREADS>(tile, k_block_begin, pitch_bytes);
    return;
  }
  const int thread = ptx::thread_index();
  if (L::kLoaders != THREADS && thread >= L::kLoaders) return;
  const int chunk = thread % L::kChunks;
  const int first_row = thread / L::kChunks;
  const int left = k_block.length * ELEMENT_BYTES - chunk * 16;
  const int bytes = left < 0 ? 0 : left > 16 ? 16 : left;
  const unsigned char* from = k_block_begin + chunk * 16;
  const auto load_row = [&](int pass) {
    const int row = first_row + pass * L::kRowsPerPass;
    if (ROWS % L::kRowsPerPass != 0 && row >= ROWS) return;
    const int here = row < valid_rows ? bytes : 0;
    const unsigned to = tile + swizzled<ROW_BYTES>(row, chunk);
    const unsigned char* source = from + (here > 0 ? row * pitch_bytes : 0);
    if constexpr (WIDE) {
      ptx::cp_async16(to, here > 0 ? source : matrix, here);
    } else {
      load_narrow<ELEMENT_BYTES>(to, source, here);
    }
  };
  // Edges are rare and single elements are slow whatever is done: unrolled they would take registers from the sums.
#pragma unroll 1
  for (int pass = 0; pass < L::kPasses; ++pass) load_row(pass);
}

// The sums of one warp: [kX, kY] fragments of 16 x 8.
template <KernelSpec SPEC>
struct Sums {
  using S = Shape<SPEC>;
  typename S::Accumulator value[S::kX][S::kY][4];
};

// One step's operands of a warp, as they come out of shared memory.
template <KernelSpec SPEC>
struct Fragments {
  using S = Shape<SPEC>;
  unsigned x[S::kX][fragment_words(SPEC.product, S::kStorageX)];
  unsigned y[ceil_divide(S::kY, 2)][fragment_words(SPEC.product, S::kStorageY)];
};

// step: of this warp's split of the stage.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void load_fragments(Fragments<SPEC>& fragments, unsigned stage, const WarpTile& warp, int step) {
  using S = Shape<SPEC>;
  const unsigned tile_b = stage + static_cast<unsigned>(kLayout<SPEC>.b);
  const unsigned x_tile = S::kSwapped ? tile_b : stage;
  const unsigned y_tile = S::kSwapped ? stage : tile_b;
  constexpr int kBlocks = S::kY > 1 ? 2 : 1;
  static_assert(S::kY == 1 || S::kY % 2 == 0, "blocks of Y are loaded in pairs");
  const int in_stage = warp.split * S::kSteps + step;
#pragma unroll
  for (int m = 0; m < S::kX; ++m) {
    load_x<SPEC.product, S::kStorageX, S::kRowBytesX>(fragments.x[m], x_tile, warp.x + 16 * m, in_stage, warp.lane);
  }
#pragma unroll
  for (int n = 0; n < S::kY; n += 2) {
    load_y<SPEC.product, S::kStorageY, S::kRowBytesY, kBlocks>(fragments.y[n / 2], y_tile, warp.y + 8 * n, in_stage,
                                                               warp.lane);
  }
}

template <KernelSpec SPEC>
EXPERTILE_DEVICE void multiply_fragments(const Fragments<SPEC>& fragments, Sums<SPEC>& sums) {
  using S = Shape<SPEC>;
  constexpr int kOperands = operand_fragments(SPEC.product);
  unsigned x[S::kX][kOperands][4];
#pragma unroll
  for (int m = 0; m < S::kX; ++m) operands_x<SPEC.product, S::kStorageX>(x[m], fragments.x[m]);
#pragma unroll
  for (int n = 0; n < S::kY; ++n) {
    unsigned y[kOperands][2];
    operands_y<SPEC.product, S::kStorageY>(y, fragments.y[n / 2], n % 2);
#pragma unroll
    for (int m = 0; m < S::kX; ++m) multiply_all<SPEC.product>(sums.value[m][n], x[m], y);
  }
}

// Row of X or Y within the tile that a lane's sum [m][n][i] belongs to.
EXPERTILE_DEVICE int x_of(const WarpTile& warp, int m, int i) {
  return warp.x + 16 * m + warp.lane / 4 + (i >= 2 ? 8 : 0);
}
EXPERTILE_DEVICE int y_of(const WarpTile& warp, int n, int i) { return warp.y + 8 * n + 2 * (warp.lane % 4) + i % 2; }

// The scales of one block along K, for the rows and columns of a lane's sums; loaded before the stage is waited for.
// Where the whole tile lies in one block of the weights' scales, that one is multiplied into the tokens'.
template <KernelSpec SPEC>
struct BlockScales {
  using S = Shape<SPEC>;
  static constexpr bool kOneWeightScale = SPEC.block_n > 0 && SPEC.block_n % SPEC.tile.block_size_n == 0;
  static constexpr int kTokens = S::kSwapped ? 2 * S::kY : 2 * S::kX;
  static constexpr int kWeights = kOneWeightScale ? 1 : S::kSwapped ? 2 * S::kX : 2 * S::kY;
  float token[kTokens];
  float weight[kWeights];
};
// Row of the X (Y) side that scale j of a lane belongs to: the rows of x_of, the columns of y_of.
EXPERTILE_DEVICE int scale_x_of(const WarpTile& warp, int j) { return x_of(warp, j / 2, 2 * (j % 2)); }
EXPERTILE_DEVICE int scale_y_of(const WarpTile& warp, int j) { return y_of(warp, j / 2, j % 2); }

template <KernelSpec SPEC>
EXPERTILE_DEVICE void load_scales(BlockScales<SPEC>& scales, const KernelArgs& args, const OutputTile& tile,
                                  const WarpTile& warp, int block) {
  using S = Shape<SPEC>;
  using Scales = BlockScales<SPEC>;
  const int scales_k = ceil_divide(args.k, SPEC.block_k);
#pragma unroll
  for (int j = 0; j < Scales::kWeights; ++j) {
    const int column = Scales::kOneWeightScale ? 0 : S::kSwapped ? scale_x_of(warp, j) : scale_y_of(warp, j);
    scales.weight[j] = weight_scale<SPEC>(args, tile, column, block, scales_k);
  }
#pragma unroll
  for (int j = 0; j < Scales::kTokens; ++j) {
    const int row = S::kSwapped ? scale_y_of(warp, j) : scale_x_of(warp, j);
    scales.token[j] = token_scale<SPEC>(args, tile, row, block, scales_k);
  }
}

// total += sums * scales; sums = 0. In float32, once per block of scales along K.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void promote(float (&total)[Shape<SPEC>::kX][Shape<SPEC>::kY][4], Sums<SPEC>& sums,
                              const BlockScales<SPEC>& scales) {
  using S = Shape<SPEC>;
#pragma unroll
  for (int m = 0; m < S::kX; ++m) {
#pragma unroll
    for (int n = 0; n < S::kY; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int x = 2 * m + i / 2;
        const int y = 2 * n + i % 2;
        const float token = scales.token[S::kSwapped ? y : x];
        const float weight = scales.weight[BlockScales<SPEC>::kOneWeightScale ? 0 : S::kSwapped ? x : y];
        total[m][n][i] += static_cast<float>(sums.value[m][n][i]) * (token * weight);
        sums.value[m][n][i] = 0;
      }
    }
  }
}

// Starts loading k-block `index` of both operands into its stage; does nothing behind the last. Always closes a group,
// so that the number of groups in flight stays what cp_async_wait counts on.
template <KernelSpec SPEC>
EXPERTILE_DEVICE void load_stage(const KernelArgs& args, const OutputTile& tile, unsigned stages, int index,
                                 int k_blocks) {
  using S = Shape<SPEC>;
  if (index < k_blocks) {
    const KBlock k_block = k_block_at<SPEC>(index, args.k);
    const unsigned stage = stages + static_cast<unsigned>(index % S::kTile.num_stages * kLayout<SPEC>.stage_bytes);
    const long long pitch_a = args.a_pitch * size_of(SPEC.a);
    const long long pitch_b = args.b_pitch * size_of(SPEC.b);
    const int columns = args.n - tile.column < S::kTile.block_size_n ? args.n - tile.column : S::kTile.block_size_n;
    load_tile<S::kTile.block_size_m, S::kRowBytesA, size_of(SPEC.a), S::kThreads, SPEC.wide_loads>(
        stage, static_cast<const unsigned char*>(args.a) + tile.row * pitch_a, pitch_a, tile.rows, k_block);
    load_tile<S::kTile.block_size_n, S::kRowBytesB, size_of(SPEC.b), S::kThreads, SPEC.wide_loads>(
        stage + static_cast<unsigned>(kLayout<SPEC>.b),
        static_cast<const unsigned char*>(args.b) +
            (static_cast<long long>(tile.expert) * args.n + tile.column) * pitch_b,
        pitch_b, columns, k_block);
  }
  ptx::cp_async_commit();
}

// total = A x B^T of this warp's part of the tile. On return the stages are free for other use.
template <KernelSpec SPEC, class Total>
EXPERTILE_DEVICE void multiply_tile(const KernelArgs& args, const OutputTile& tile, const WarpTile& warp,
                                    unsigned stages, Total& total) {
  using S = Shape<SPEC>;
  constexpr int kStages = S::kTile.num_stages;
  constexpr bool kPromotes = SPEC.scaling == Scaling::block;
  constexpr int kPerScaleBlock = kPromotes ? ceil_divide(SPEC.block_k, SPEC.tile.block_size_k) : 1;
  [[maybe_unused]] constexpr int kUnroll =
      SPEC.product == Product::tf32x3 ? 1 : 4;  // conversions in flight take registers
  const int k_blocks = k_block_count<SPEC>(args.k);
#pragma unroll
  for (int i = 0; i < kStages - 1; ++i) load_stage<SPEC>(args, tile, stages, i, k_blocks);
  Sums<SPEC> sums{};
  BlockScales<SPEC> scales{};
  const auto stage_of = [&](int index) {
    return stages + static_cast<unsigned>(index % kStages * kLayout<SPEC>.stage_bytes);
  };
  ptx::cp_async_wait<kStages - 2>();
  ptx::barrier();  // k-block 0 is there for all
  Fragments<SPEC> next;
  load_fragments<SPEC>(next, stage_of(0), warp, 0);
  for (int i = 0; i < k_blocks; ++i) {
    if constexpr (kPromotes) {
      if (i % kPerScaleBlock == 0) load_scales<SPEC>(scales, args, tile, warp, i / kPerScaleBlock);
    }
    // Into the stage of k-block i - 1: all took its last operands before the last barrier.
    load_stage<SPEC>(args, tile, stages, i + kStages - 1, k_blocks);
    // The operands of the next step are on their way while the tensor cores multiply those of this one.
#pragma unroll kUnroll
    for (int step = 1; step < S::kSteps; ++step) {
      const Fragments<SPEC> current = next;
      load_fragments<SPEC>(next, stage_of(i), warp, step);
      multiply_fragments<SPEC>(current, sums);
    }
    const Fragments<SPEC> last = next;
    if (i + 1 < k_blocks) {
      ptx::cp_async_wait<kStages - 2>();
      ptx::barrier();  // k-block i + 1 is there for all, and all have the last operands of k-block i
      load_fragments<SPEC>(next, stage_of(i + 1), warp, 0);
    }
    multiply_fragments<SPEC>(last, sums);
    if constexpr (kPromotes) {
      if (i % kPerScaleBlock == kPerScaleBlock - 1 || i == k_blocks - 1) promote<SPEC>(total, sums, scales);
    }
  }
  if constexpr (!kPromotes) {
    for (int m = 0; m < S::kX; ++m) {
      for (int n = 0; n < S::kY; ++n) {
        for (int i = 0; i < 4; ++i) total[m][n][i] = sums.value[m][n][i];
      }
    }
  }
  ptx::cp_async_wait<0>();
  ptx::barrier();  // nobody reads or fills the stages any more
}

}  // namespace expertile::sm80
