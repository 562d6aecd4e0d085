#include "emulator/make_hopper_kernels.hpp"
#include "emulator/make_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> hopper_float32_kernels() {
  return joined(hopper_splitting_kernels_of<Scaling::none>(), hopper_splitting_kernels_of<Scaling::block>());
}

}  // namespace expertile::testing
