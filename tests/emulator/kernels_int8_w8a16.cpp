#include "emulator/make_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> int8_w8a16_kernels() {
  using enum Storage;
  return joined(joined(kernels_of<float16, int8, Scaling::per_channel, Product::int8_float16>(),
                       kernels_of<bfloat16, int8, Scaling::per_channel, Product::int8_bfloat16>()),
                joined(kernels_of<float16, int8, Scaling::block, Product::int8_float16, false>(),
                       kernels_of<bfloat16, int8, Scaling::block, Product::int8_bfloat16, false>()));
}

}  // namespace expertile::testing
