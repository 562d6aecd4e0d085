#include "emulator/make_hopper_kernels.hpp"
#include "emulator/make_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> hopper_kernels_in_subtiles() {
  using enum Storage;
  return joined(joined(hopper_subtiles_of<e4m3, Scaling::per_token_channel, Product::e4m3>(),
                       hopper_subtiles_of<e4m3, Scaling::block, Product::e4m3>()),
                hopper_subtiles_of<int8, Scaling::block, Product::int8>());
}

}  // namespace expertile::testing
