#include "emulator/make_hopper_kernels.hpp"
#include "emulator/make_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> hopper_float_kernels() {
  using enum Storage;
  return joined(hopper_kernels_of<float16, Scaling::none, Product::float16>(),
                hopper_kernels_of<bfloat16, Scaling::none, Product::bfloat16>());
}

}  // namespace expertile::testing
