#include "emulator/make_hopper_kernels.hpp"
#include "emulator/make_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> hopper_fp8_kernels() {
  using enum Storage;
  return joined(joined(hopper_kernels_of<e4m3, Scaling::per_tensor, Product::e4m3>(),
                       hopper_kernels_of<e4m3, Scaling::per_token_channel, Product::e4m3>()),
                hopper_kernels_of<e4m3, Scaling::block, Product::e4m3>());
}

}  // namespace expertile::testing
