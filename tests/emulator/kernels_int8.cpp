#include "emulator/make_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> int8_kernels() {
  using enum Storage;
  return joined(kernels_of<int8, int8, Scaling::per_token_channel, Product::int8>(),
                kernels_of<int8, int8, Scaling::block, Product::int8>());
}

}  // namespace expertile::testing
