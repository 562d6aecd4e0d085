#include "emulator/make_hopper_kernels.hpp"
#include "emulator/make_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> hopper_int8_kernels() {
  using enum Storage;
  return joined(joined(hopper_kernels_of<int8, Scaling::per_tensor, Product::int8>(),
                       hopper_kernels_of<int8, Scaling::per_token_channel, Product::int8>()),
                hopper_kernels_of<int8, Scaling::block, Product::int8>());
}

}  // namespace expertile::testing
