#include "emulator/make_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> fp8_kernels() {
  using enum Storage;
  return joined(kernels_of<e4m3, e4m3, Scaling::per_tensor, Product::e4m3>(),
                kernels_of<e4m3, e4m3, Scaling::per_token_channel, Product::e4m3>());
}

}  // namespace expertile::testing
