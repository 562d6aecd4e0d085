#include "emulator/make_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> float16_kernels() {
  using enum Storage;
  return joined(kernels_of<float16, float16, Scaling::none, Product::float16>(),
                kernels_of<e4m3, e4m3, Scaling::block, Product::e4m3>());  // A is quantised first
}

}  // namespace expertile::testing
