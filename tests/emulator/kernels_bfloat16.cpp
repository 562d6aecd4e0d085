#include "emulator/make_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> bfloat16_kernels() {
  using enum Storage;
  return kernels_of<bfloat16, bfloat16, Scaling::none, Product::bfloat16>();
}

}  // namespace expertile::testing
