#include "emulator/make_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> float32_kernels() {
  using enum Storage;
  return joined(kernels_of<float32, float32, Scaling::none, Product::tf32x3>(),
                kernels_of<float32, float32, Scaling::none, Product::tf32>());
}

}  // namespace expertile::testing
