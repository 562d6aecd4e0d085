#include "emulator/make_hopper_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> hopper_float32_kernels() { return hopper_tf32x3_kernels(); }

}  // namespace expertile::testing
