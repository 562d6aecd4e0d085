#pragma once
// One combination -> its emulated kernels of the Hopper family.

#include "emulator/emulated_kernels.hpp"
#include "kernel_figures.hpp"
#include "sm90/grouped_gemm.hpp"

namespace expertile::testing {

template <KernelSpec SPEC>
EmulatedKernel emulated_on_hopper() {
  return {SPEC, [](const TiledArgs& in) { sm90::grouped_gemm<SPEC>(in); }};
}

// Both operand orders, one to three warpgroups, sharing and taking turns, stages of one and of two boxes, tiles that
// are cut, clusters of two and four that share tokens, of two that share weights, and that share a tile's K; every lane
// that arrives.
template <Storage STORAGE, Scaling SCALING, Product PRODUCT>
std::vector<EmulatedKernel> hopper_kernels_of() {
  constexpr bool kBlocks = SCALING == Scaling::block;
  constexpr int kBox = kBoxBytes / size_of(STORAGE);
  constexpr auto spec = [](const TileConfig& tile, int block_n, bool every_lane_arrives = false) {
    return KernelSpec{.tile = tile,
                      .a = STORAGE,
                      .b = STORAGE,
                      .scaling = SCALING,
                      .product = PRODUCT,
                      .block_n = kBlocks ? block_n : 0,
                      .block_k = kBlocks ? 128 : 0,
                      .scales_a = kBlocks,
                      .wide_loads = true,
                      .every_lane_arrives = every_lane_arrives};
  };
  constexpr auto kHopper = KernelFamily::sm90;
  // M, N, K, GROUP_SIZE_M, warps, stages, SPLIT_K, SWAP_AB, family, PINGPONG, CLUSTER_SIZE, CLUSTER_M
  return {emulated_on_hopper<spec({64, 64, kBox, 1, 4, 3, 1, 0, kHopper, 0}, 64)>(),
          emulated_on_hopper<spec({256, 32, 2 * kBox, 2, 8, 2, 1, 0, kHopper, 0, 4}, 64)>(),
          emulated_on_hopper<spec({64, 32, kBox, 1, 8, 4, 1, 0, kHopper, 1, 2}, 128)>(),
          emulated_on_hopper<spec({64, 64, kBox, 2, 4, 3, 1, 0, kHopper, 0, 1, 2}, 64)>(),
          emulated_on_hopper<spec({64, 32, 2 * kBox, 1, 8, 3, 1, 0, kHopper, 1, 1, 2}, 128)>(),
          emulated_on_hopper<spec({64, 64, kBox, 1, 8, 3, 1, 0, kHopper, 1, 2}, 64, true)>(),
          emulated_on_hopper<spec({8, 64, 2 * kBox, 1, 4, 3, 1, 1, kHopper, 0}, 128)>(),
          emulated_on_hopper<spec({24, 128, kBox, 1, 8, 2, 1, 1, kHopper, 0}, 64)>(),
          emulated_on_hopper<spec({16, 128, kBox, 1, 8, 3, 1, 1, kHopper, 1}, 64)>(),
          emulated_on_hopper<spec({64, 64, kBox, 1, 4, 2, 1, 1, kHopper, 0, 2}, 128)>(),
          emulated_on_hopper<spec({192, 64, kBox, 1, 12, 2, 1, 0, kHopper, 0}, 64)>(),
          emulated_on_hopper<spec({24, 192, kBox, 1, 12, 2, 1, 1, kHopper, 0}, 64)>(),
          emulated_on_hopper<spec({64, 64, kBox, 1, 4, 2, 2, 0, kHopper, 0}, 64)>(),
          emulated_on_hopper<spec({128, 32, 2 * kBox, 1, 8, 2, 4, 0, kHopper, 0}, 128)>(),
          emulated_on_hopper<spec({8, 64, kBox, 1, 4, 3, 4, 1, kHopper, 0}, 128)>(),
          emulated_on_hopper<spec({48, 128, kBox, 2, 8, 2, 2, 1, kHopper, 0}, 64)>()};
}

// Tiles that are multiplied in pieces: of 64 rows, in both operand orders, and of 128 columns; by two warpgroups,
// and by one alone.
template <Storage STORAGE, Scaling SCALING, Product PRODUCT>
std::vector<EmulatedKernel> hopper_pieces_of() {
  constexpr bool kBlocks = SCALING == Scaling::block;
  constexpr auto spec = [](const TileConfig& tile) {
    return KernelSpec{.tile = tile,
                      .a = STORAGE,
                      .b = STORAGE,
                      .scaling = SCALING,
                      .product = PRODUCT,
                      .block_n = kBlocks ? 128 : 0,
                      .block_k = kBlocks ? 128 : 0,
                      .scales_a = kBlocks,
                      .wide_loads = true};
  };
  constexpr int kBox = kBoxBytes / size_of(STORAGE);
  constexpr auto kHopper = KernelFamily::sm90;
  // M, N, K, GROUP_SIZE_M, warps, stages, SPLIT_K, SWAP_AB, family
  return {emulated_on_hopper<spec({104, 256, kBox, 1, 8, 2, 1, 1, kHopper})>(),
          emulated_on_hopper<spec({256, 128, kBox, 1, 8, 2, 1, 0, kHopper})>(),
          emulated_on_hopper<spec({128, 128, 2 * kBox, 1, 8, 2, 1, 0, kHopper})>(),
          emulated_on_hopper<spec({64, 256, kBox, 1, 4, 2, 1, 0, kHopper})>()};
}

// Weights that are widened: one, two and four blocks of 64 rows a warpgroup, parts of four, two and one steps, stages
// of one and of two boxes, sharing and taking turns, parts of K.
template <Storage STORAGE, Scaling SCALING, Product PRODUCT>
std::vector<EmulatedKernel> hopper_widening_kernels_of() {
  constexpr bool kBlocks = SCALING == Scaling::block;
  constexpr auto spec = [](const TileConfig& tile, int block_n) {
    return KernelSpec{.tile = tile,
                      .a = STORAGE,
                      .b = Storage::int8,
                      .scaling = SCALING,
                      .product = PRODUCT,
                      .block_n = kBlocks ? block_n : 0,
                      .block_k = kBlocks ? 128 : 0,
                      .scales_a = false,
                      .wide_loads = true};
  };
  constexpr auto kHopper = KernelFamily::sm90;
  // M, N, K, GROUP_SIZE_M, warps, stages, SPLIT_K, SWAP_AB, family, PINGPONG, CLUSTER_SIZE
  return {emulated_on_hopper<spec({8, 64, 256, 1, 4, 3, 1, 1, kHopper, 0}, 128)>(),
          emulated_on_hopper<spec({24, 128, 128, 1, 8, 2, 1, 1, kHopper, 0}, 64)>(),
          emulated_on_hopper<spec({16, 128, 128, 1, 8, 3, 1, 1, kHopper, 1, 2}, 64)>(),
          emulated_on_hopper<spec({72, 64, 128, 2, 4, 2, 1, 1, kHopper, 0}, 128)>(),
          emulated_on_hopper<spec({136, 64, 128, 1, 4, 2, 1, 1, kHopper, 0}, 128)>(),
          emulated_on_hopper<spec({16, 256, 128, 1, 4, 2, 1, 1, kHopper, 0}, 64)>(),
          emulated_on_hopper<spec({8, 64, 128, 1, 4, 3, 4, 1, kHopper, 0}, 128)>(),
          emulated_on_hopper<spec({32, 128, 256, 1, 8, 2, 2, 1, kHopper, 0}, 64)>()};
}

// float32 at its own accuracy: one, two and four blocks of 64 rows a warpgroup, sets of two steps and of one, stages of
// one and of two boxes, tokens that are cut, sharing and taking turns, clusters of two and four.
inline std::vector<EmulatedKernel> hopper_splitting_kernels() {
  constexpr auto spec = [](const TileConfig& tile) {
    return KernelSpec{
        .tile = tile, .a = Storage::float32, .b = Storage::float32, .product = Product::tf32x3, .wide_loads = true};
  };
  constexpr auto kHopper = KernelFamily::sm90;
  // M, N, K, GROUP_SIZE_M, warps, stages, SPLIT_K, SWAP_AB, family, PINGPONG, CLUSTER_SIZE
  return {emulated_on_hopper<spec({8, 64, 64, 1, 4, 3, 1, 1, kHopper, 0})>(),
          emulated_on_hopper<spec({24, 128, 32, 1, 8, 2, 1, 1, kHopper, 0})>(),
          emulated_on_hopper<spec({16, 128, 32, 1, 8, 3, 1, 1, kHopper, 1, 2})>(),
          emulated_on_hopper<spec({72, 64, 32, 2, 4, 2, 1, 1, kHopper, 0})>(),
          emulated_on_hopper<spec({64, 128, 32, 1, 8, 3, 1, 1, kHopper, 1})>(),
          emulated_on_hopper<spec({96, 128, 64, 1, 8, 2, 1, 1, kHopper, 0, 4})>(),
          emulated_on_hopper<spec({16, 256, 32, 1, 4, 3, 1, 1, kHopper, 0})>(),
          emulated_on_hopper<spec({8, 64, 32, 1, 4, 3, 4, 1, kHopper, 0})>(),
          emulated_on_hopper<spec({32, 128, 64, 1, 8, 2, 2, 1, kHopper, 0})>()};
}

}  // namespace expertile::testing
