// Rows that are masked, and offsets in 32 bits: the portable family's kernels of both, with every dtype.

#include "emulator/make_kernels.hpp"

namespace expertile::testing {
namespace {

constexpr KernelSpec spec_of(Rows rows, const TileConfig& tile, Storage a, Storage b, Storage c, Scaling scaling,
                             Product product) {
  const bool blocks = scaling == Scaling::block;
  KernelSpec spec{.tile = tile,
                  .a = a,
                  .b = b,
                  .c = c,
                  .scaling = scaling,
                  .product = product,
                  .block_n = blocks ? 64 : 0,
                  .block_k = blocks ? 32 : 0,
                  .scales_a = blocks,
                  .wide_loads = true,
                  .rows = rows};
  spec.tile.block_size_k = 64;
  spec.tile.num_warps = 4;
  spec.tile.kernel = KernelFamily::sm80;
  return spec;
}

constexpr TileConfig kStraight{.block_size_m = 16, .block_size_n = 32, .group_size_m = 2, .num_stages = 3};
constexpr TileConfig kSwapped{.block_size_m = 8, .block_size_n = 64, .num_stages = 3, .swap_ab = 1};
constexpr TileConfig kSplit{.block_size_m = 16, .block_size_n = 32, .num_stages = 2, .split_k = 2};

}  // namespace

std::vector<EmulatedKernel> kernels_of_other_rows() {
  using enum Storage;
  using S = Scaling;
  using P = Product;
  constexpr auto kMasked = Rows::masked;
  constexpr auto kOffsets = Rows::offsets_32;
  return {
      emulated<spec_of(kMasked, kStraight, float16, float16, float16, S::none, P::float16)>(),
      emulated<spec_of(kMasked, kSwapped, bfloat16, bfloat16, float32, S::none, P::bfloat16)>(),
      emulated<spec_of(kMasked, kSplit, float32, float32, float32, S::none, P::tf32x3)>(),
      emulated<spec_of(kMasked, kStraight, e4m3, e4m3, bfloat16, S::block, P::e4m3)>(),
      emulated<spec_of(kMasked, kSwapped, e4m3, e4m3, float16, S::per_token_channel, P::e4m3)>(),
      emulated<spec_of(kMasked, kSplit, int8, int8, bfloat16, S::per_token_channel, P::int8)>(),
      emulated<spec_of(kMasked, kStraight, float16, int8, float16, S::per_channel, P::int8_float16)>(),
      emulated<spec_of(kOffsets, kSwapped, float16, float16, float32, S::none, P::float16)>(),
      emulated<spec_of(kOffsets, kStraight, bfloat16, bfloat16, bfloat16, S::none, P::bfloat16)>(),
      emulated<spec_of(kOffsets, kStraight, float32, float32, float16, S::none, P::tf32x3)>(),
      emulated<spec_of(kOffsets, kSplit, e4m3, e4m3, bfloat16, S::per_tensor, P::e4m3)>(),
      emulated<spec_of(kOffsets, kStraight, int8, int8, float32, S::block, P::int8)>(),
      emulated<spec_of(kOffsets, kSwapped, bfloat16, int8, bfloat16, S::per_channel, P::int8_bfloat16)>(),
  };
}

}  // namespace expertile::testing
