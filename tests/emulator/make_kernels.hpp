#pragma once
// One combination -> its emulated kernels.

#include "emulator/emulated_kernels.hpp"
#include "sm80/grouped_gemm.hpp"

namespace expertile::testing {

template <KernelSpec SPEC>
EmulatedKernel emulated() {
  return {SPEC, [](const TiledArgs& in) { sm80::grouped_gemm<SPEC>(in.args); }};
}

// Straight and swapped, with and without a split K, wide and narrow loads, scale blocks shorter and longer than a
// slice.
template <Storage A, Storage B, Scaling SCALING, Product PRODUCT, bool SCALES_A = true>
std::vector<EmulatedKernel> kernels_of() {
  constexpr bool kBlocks = SCALING == Scaling::block;
  constexpr auto spec = [](const TileConfig& tile, int block_n, int block_k, bool wide) {
    return KernelSpec{.tile = tile,
                      .a = A,
                      .b = B,
                      .scaling = SCALING,
                      .product = PRODUCT,
                      .block_n = kBlocks ? block_n : 0,
                      .block_k = kBlocks ? block_k : 0,
                      .scales_a = kBlocks && SCALES_A,
                      .wide_loads = wide};
  };
  constexpr auto kGpu = KernelFamily::sm80;
  // M, N, K, GROUP_SIZE_M, warps, stages, SPLIT_K, SWAP_AB
  return {emulated<spec({16, 64, 64, 1, 4, 3, 1, 0, kGpu}, 64, 32, true)>(),
          emulated<spec({64, 32, 64, 2, 4, 2, 1, 0, kGpu}, 7, 13, false)>(),
          emulated<spec({8, 64, 64, 1, 4, 4, 1, 1, kGpu}, 96, 128, true)>(),
          emulated<spec({32, 32, 64, 1, 4, 3, 2, 1, kGpu}, 128, 128, true)>(),
          emulated<spec({16, 32, 64, 1, 4, 3, 2, 0, kGpu}, 32, 96, false)>()};
}

inline std::vector<EmulatedKernel> joined(std::vector<EmulatedKernel> all, const std::vector<EmulatedKernel>& more) {
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace expertile::testing
