#include "emulator/make_hopper_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> hopper_tf32_kernels() {
  return hopper_kernels_of<Storage::float32, Scaling::none, Product::tf32>();
}

}  // namespace expertile::testing
