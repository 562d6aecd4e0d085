#include "emulator/make_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> float32_kernels() {
  using enum Storage;
  return kernels_of<float32, float32, Scaling::none, Product::tf32x3>();
}

}  // namespace expertile::testing
