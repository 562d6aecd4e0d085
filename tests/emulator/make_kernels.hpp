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
// k-block.
template <Storage A, Storage B, Scaling SCALING, Product PRODUCT, bool SCALES_A = true>
std::vector<EmulatedKernel> kernels_of() {
  constexpr bool kBlocks = SCALING == Scaling::block;
  constexpr auto tile = [](int m, int n, TileConfig more) {
    more.block_size_m = m;
    more.block_size_n = n;
    more.block_size_k = 64;
    more.num_warps = 4;
    more.kernel = KernelFamily::sm80;
    return more;
  };
  constexpr auto spec = [](int index, const TileConfig& one, int block_n, int block_k, bool wide) {
    return KernelSpec{.tile = one,
                      .a = A,
                      .b = B,
                      .c = c_of_kernel(PRODUCT, SCALING, index),
                      .scaling = SCALING,
                      .product = PRODUCT,
                      .block_n = kBlocks ? block_n : 0,
                      .block_k = kBlocks ? block_k : 0,
                      .scales_a = kBlocks && SCALES_A,
                      .wide_loads = wide};
  };
  return {emulated<spec(0, tile(16, 64, {.num_stages = 3}), 64, 32, true)>(),
          emulated<spec(1, tile(64, 32, {.group_size_m = 2, .num_stages = 2}), 7, 13, false)>(),
          emulated<spec(2, tile(8, 64, {.num_stages = 4, .swap_ab = 1}), 96, 128, true)>(),
          emulated<spec(3, tile(32, 32, {.num_stages = 3, .split_k = 2, .swap_ab = 1}), 128, 128, true)>(),
          emulated<spec(4, tile(16, 32, {.num_stages = 3, .split_k = 2}), 32, 96, false)>()};
}

inline std::vector<EmulatedKernel> joined(std::vector<EmulatedKernel> all, const std::vector<EmulatedKernel>& more) {
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace expertile::testing
