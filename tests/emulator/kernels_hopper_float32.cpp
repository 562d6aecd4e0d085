#include "emulator/make_hopper_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> hopper_float32_kernels() { return hopper_splitting_kernels(); }

}  // namespace expertile::testing
