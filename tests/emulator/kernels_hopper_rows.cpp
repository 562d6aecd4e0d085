// Rows that are masked, and offsets in 32 bits: the Hopper family's kernels of both, with every dtype.

#include "emulator/make_hopper_kernels.hpp"

namespace expertile::testing {
namespace {

constexpr KernelSpec spec_of(Rows rows, int index, const TileConfig& tile, Storage a, Storage b, Scaling scaling,
                             Product product) {
  KernelSpec spec = hopper_spec(index, tile, a, b, scaling, product, 64);
  spec.rows = rows;
  return spec;
}

// m, n: the tile's; panels of K: one.
constexpr TileConfig tile_of(Storage a, int m, int n, TileConfig more) {
  return hopper_tile(m, n, kSwizzleBytes / size_of(a), more);
}
// 128 weights of int8 are one panel.
constexpr TileConfig tile_of_int8_weights(int m, int n, TileConfig more) {
  more.swap_ab = 1;
  return hopper_tile(m, n, 128, more);
}

constexpr TileConfig kStays{.group_size_m = 2, .num_warps = 4, .num_stages = 3};
constexpr TileConfig kSharesTokens{.num_warps = 8, .num_stages = 3, .pingpong = 1, .cluster_size = 2};
constexpr TileConfig kSharesWeights{.num_warps = 4, .num_stages = 3, .cluster_m = 2};
constexpr TileConfig kSwaps{.num_warps = 4, .num_stages = 2, .swap_ab = 1};
constexpr TileConfig kSplits{.num_warps = 4, .num_stages = 2, .split_k = 2, .swap_ab = 1};

}  // namespace

std::vector<EmulatedKernel> hopper_kernels_of_other_rows() {
  using enum Storage;
  using S = Scaling;
  using P = Product;
  constexpr auto kMasked = Rows::masked;
  constexpr auto kOffsets = Rows::offsets_32;
  return {
      emulated_on_hopper<spec_of(kMasked, 0, tile_of(float16, 64, 64, kSharesWeights), float16, float16, S::none,
                                 P::float16)>(),
      emulated_on_hopper<spec_of(kMasked, 1, tile_of(bfloat16, 16, 64, kSwaps), bfloat16, bfloat16, S::none,
                                 P::bfloat16)>(),
      emulated_on_hopper<spec_of(kMasked, 2, tile_of(float32, 8, 64, kSwaps), float32, float32, S::none, P::tf32x3)>(),
      emulated_on_hopper<spec_of(kMasked, 0, tile_of(e4m3, 64, 32, kSharesTokens), e4m3, e4m3, S::block, P::e4m3)>(),
      emulated_on_hopper<spec_of(kMasked, 1, tile_of(e4m3, 8, 64, kSplits), e4m3, e4m3, S::per_token_channel,
                                 P::e4m3)>(),
      emulated_on_hopper<spec_of(kMasked, 2, tile_of(int8, 64, 64, kStays), int8, int8, S::per_token_channel,
                                 P::int8)>(),
      emulated_on_hopper<spec_of(kMasked, 0, tile_of_int8_weights(8, 64, kStays), float16, int8, S::per_channel,
                                 P::int8_float16)>(),
      emulated_on_hopper<spec_of(kOffsets, 1, tile_of(float16, 8, 64, kSplits), float16, float16, S::none,
                                 P::float16)>(),
      emulated_on_hopper<spec_of(kOffsets, 2, tile_of(bfloat16, 64, 32, kSharesTokens), bfloat16, bfloat16, S::none,
                                 P::bfloat16)>(),
      emulated_on_hopper<spec_of(kOffsets, 0, tile_of(float32, 16, 64, kSwaps), float32, float32, S::none,
                                 P::tf32x3)>(),
      emulated_on_hopper<spec_of(kOffsets, 1, tile_of(e4m3, 64, 64, kSharesWeights), e4m3, e4m3, S::per_tensor,
                                 P::e4m3)>(),
      emulated_on_hopper<spec_of(kOffsets, 2, tile_of(int8, 16, 64, kSwaps), int8, int8, S::block, P::int8)>(),
      emulated_on_hopper<spec_of(kOffsets, 0, tile_of_int8_weights(16, 64, kStays), bfloat16, int8, S::per_channel,
                                 P::int8_bfloat16)>(),
  };
}

}  // namespace expertile::testing
