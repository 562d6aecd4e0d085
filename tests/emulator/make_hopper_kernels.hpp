#pragma once
// One combination -> its emulated kernels of the Hopper family.

#include "emulator/emulated_kernels.hpp"
#include "kernel_shape.hpp"
#include "sm90/grouped_gemm.hpp"

namespace expertile::testing {

template <KernelSpec SPEC>
EmulatedKernel emulated_on_hopper() {
  return {SPEC, [](const TiledArgs& in) { sm90::grouped_gemm<SPEC>(in); }};
}

// BLOCK_SIZE_M, _N and _K; the rest by name.
constexpr TileConfig hopper_tile(int m, int n, int k, TileConfig more) {
  more.block_size_m = m;
  more.block_size_n = n;
  more.block_size_k = k;
  more.kernel = KernelFamily::sm90;
  return more;
}

// block_n, block_k: of scales, where the scaling has blocks.
constexpr KernelSpec hopper_spec(int index, const TileConfig& tile, Storage a, Storage b, Scaling scaling,
                                 Product product, int block_n) {
  const bool blocks = scaling == Scaling::block;
  return {.tile = tile,
          .a = a,
          .b = b,
          .c = c_of_kernel(product, scaling, index),
          .scaling = scaling,
          .product = product,
          .block_n = blocks ? block_n : 0,
          .block_k = blocks ? 128 : 0,
          .scales_a = blocks && !widens_weights(product),
          .wide_loads = true};
}

// Both operand orders, one to three warpgroups, sharing a tile and ping-pong, stages of one and of two panels, tiles
// that are cut, clusters of two and four that share tokens, of two that share weights, and that share a tile's K.
template <Storage STORAGE, Scaling SCALING, Product PRODUCT>
std::vector<EmulatedKernel> hopper_kernels_of() {
  constexpr int kOne = kSwizzleBytes / size_of(STORAGE);  // panel
  constexpr int kTwo = 2 * kOne;
  constexpr auto spec = [](int index, int m, int n, int k, const TileConfig& more, int block_n) {
    return hopper_spec(index, hopper_tile(m, n, k, more), STORAGE, STORAGE, SCALING, PRODUCT, block_n);
  };
  return {
      emulated_on_hopper<spec(0, 64, 64, kOne, {.num_warps = 4, .num_stages = 3}, 64)>(),
      emulated_on_hopper<spec(1, 256, 32, kTwo, {.group_size_m = 2, .num_warps = 8, .num_stages = 2, .cluster_size = 4},
                              64)>(),
      emulated_on_hopper<spec(2, 64, 32, kOne, {.num_warps = 8, .num_stages = 4, .pingpong = 1, .cluster_size = 2},
                              128)>(),
      emulated_on_hopper<spec(3, 64, 64, kOne, {.group_size_m = 2, .num_warps = 4, .num_stages = 3, .cluster_m = 2},
                              64)>(),
      emulated_on_hopper<spec(4, 64, 32, kTwo, {.num_warps = 8, .num_stages = 3, .pingpong = 1, .cluster_m = 2},
                              128)>(),
      emulated_on_hopper<spec(5, 8, 64, kTwo, {.num_warps = 4, .num_stages = 3, .swap_ab = 1}, 128)>(),
      emulated_on_hopper<spec(6, 24, 128, kOne, {.num_warps = 8, .num_stages = 2, .swap_ab = 1}, 64)>(),
      emulated_on_hopper<spec(7, 16, 128, kOne, {.num_warps = 8, .num_stages = 3, .swap_ab = 1, .pingpong = 1}, 64)>(),
      emulated_on_hopper<spec(8, 64, 64, kOne, {.num_warps = 4, .num_stages = 2, .swap_ab = 1, .cluster_size = 2},
                              128)>(),
      emulated_on_hopper<spec(9, 192, 64, kOne, {.num_warps = 12, .num_stages = 2}, 64)>(),
      emulated_on_hopper<spec(10, 24, 192, kOne, {.num_warps = 12, .num_stages = 2, .swap_ab = 1}, 64)>(),
      emulated_on_hopper<spec(11, 64, 64, kOne, {.num_warps = 4, .num_stages = 2, .split_k = 2}, 64)>(),
      emulated_on_hopper<spec(12, 128, 32, kTwo, {.num_warps = 8, .num_stages = 2, .split_k = 4}, 128)>(),
      emulated_on_hopper<spec(13, 8, 64, kOne, {.num_warps = 4, .num_stages = 3, .split_k = 4, .swap_ab = 1}, 128)>(),
      emulated_on_hopper<spec(14, 48, 128, kOne,
                              {.group_size_m = 2, .num_warps = 8, .num_stages = 2, .split_k = 2, .swap_ab = 1}, 64)>(),
  };
}

#ifdef EXPERTILE_EVERY_LANE_ARRIVES
// Lanes of a warp that each arrive for themselves (kArrivingLanes): a kernel that is made nowhere else.
template <Storage STORAGE, Scaling SCALING, Product PRODUCT>
EmulatedKernel hopper_kernel_whose_lanes_all_arrive() {
  static_assert(ptx::kArrivingLanes == 32);
  return emulated_on_hopper<hopper_spec(
      0,
      hopper_tile(64, 64, kSwizzleBytes / size_of(STORAGE),
                  {.num_warps = 8, .num_stages = 3, .pingpong = 1, .cluster_size = 2}),
      STORAGE, STORAGE, SCALING, PRODUCT, 64)>();
}
#endif

// Tiles that are multiplied in subtiles: of 64 rows, in both operand orders, and of 128 columns; by two warpgroups,
// and by one alone.
template <Storage STORAGE, Scaling SCALING, Product PRODUCT>
std::vector<EmulatedKernel> hopper_subtiles_of() {
  constexpr int kOne = kSwizzleBytes / size_of(STORAGE);
  constexpr auto spec = [](int index, int m, int n, int k, const TileConfig& more) {
    return hopper_spec(index, hopper_tile(m, n, k, more), STORAGE, STORAGE, SCALING, PRODUCT, 128);
  };
  return {emulated_on_hopper<spec(0, 104, 256, kOne, {.num_warps = 8, .num_stages = 2, .swap_ab = 1})>(),
          emulated_on_hopper<spec(1, 256, 128, kOne, {.num_warps = 8, .num_stages = 2})>(),
          emulated_on_hopper<spec(2, 128, 128, 2 * kOne, {.num_warps = 8, .num_stages = 2})>(),
          emulated_on_hopper<spec(3, 64, 256, kOne, {.num_warps = 4, .num_stages = 2})>()};
}

// Weights that are widened: one, two and four blocks of 64 rows a warpgroup, sets of four, two and one steps, stages of
// one and of two panels, sharing a tile and ping-pong, parts of K.
template <Storage STORAGE, Scaling SCALING, Product PRODUCT>
std::vector<EmulatedKernel> hopper_widening_kernels_of() {
  constexpr auto spec = [](int index, int m, int n, int k, TileConfig more, int block_n) {
    more.swap_ab = 1;
    return hopper_spec(index, hopper_tile(m, n, k, more), STORAGE, Storage::int8, SCALING, PRODUCT, block_n);
  };
  return {
      emulated_on_hopper<spec(0, 8, 64, 256, {.num_warps = 4, .num_stages = 3}, 128)>(),
      emulated_on_hopper<spec(1, 24, 128, 128, {.num_warps = 8, .num_stages = 2}, 64)>(),
      emulated_on_hopper<spec(2, 16, 128, 128, {.num_warps = 8, .num_stages = 3, .pingpong = 1, .cluster_size = 2},
                              64)>(),
      emulated_on_hopper<spec(3, 72, 64, 128, {.group_size_m = 2, .num_warps = 4, .num_stages = 2}, 128)>(),
      emulated_on_hopper<spec(4, 136, 64, 128, {.num_warps = 4, .num_stages = 2}, 128)>(),
      emulated_on_hopper<spec(5, 16, 256, 128, {.num_warps = 4, .num_stages = 2}, 64)>(),
      emulated_on_hopper<spec(6, 8, 64, 128, {.num_warps = 4, .num_stages = 3, .split_k = 4}, 128)>(),
      emulated_on_hopper<spec(7, 32, 128, 256, {.num_warps = 8, .num_stages = 2, .split_k = 2}, 64)>(),
  };
}

// float32 at its own accuracy: one, two and four blocks of 64 rows a warpgroup, sets of two steps and of one, stages of
// one and of two panels, tokens that are cut, sharing a tile and ping-pong, clusters of two and four.
inline std::vector<EmulatedKernel> hopper_tf32x3_kernels() {
  constexpr auto spec = [](int index, int m, int n, int k, TileConfig more) {
    more.swap_ab = 1;
    return hopper_spec(index, hopper_tile(m, n, k, more), Storage::float32, Storage::float32, Scaling::none,
                       Product::tf32x3, 0);
  };
  return {
      emulated_on_hopper<spec(0, 8, 64, 64, {.num_warps = 4, .num_stages = 3})>(),
      emulated_on_hopper<spec(1, 24, 128, 32, {.num_warps = 8, .num_stages = 2})>(),
      emulated_on_hopper<spec(2, 16, 128, 32, {.num_warps = 8, .num_stages = 3, .pingpong = 1, .cluster_size = 2})>(),
      emulated_on_hopper<spec(3, 72, 64, 32, {.group_size_m = 2, .num_warps = 4, .num_stages = 2})>(),
      emulated_on_hopper<spec(4, 64, 128, 32, {.num_warps = 8, .num_stages = 3, .pingpong = 1})>(),
      emulated_on_hopper<spec(5, 96, 128, 64, {.num_warps = 8, .num_stages = 2, .cluster_size = 4})>(),
      emulated_on_hopper<spec(6, 16, 256, 32, {.num_warps = 4, .num_stages = 3})>(),
      emulated_on_hopper<spec(7, 8, 64, 32, {.num_warps = 4, .num_stages = 3, .split_k = 4})>(),
      emulated_on_hopper<spec(8, 32, 128, 64, {.num_warps = 8, .num_stages = 2, .split_k = 2})>()};
}

}  // namespace expertile::testing
