#include "emulator/make_hopper_kernels.hpp"
#include "emulator/make_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> hopper_int8_w8a16_kernels() {
  using enum Storage;
  return joined(joined(hopper_widening_kernels_of<float16, Scaling::per_channel, Product::int8_float16>(),
                       hopper_widening_kernels_of<float16, Scaling::block, Product::int8_float16>()),
                joined(hopper_widening_kernels_of<bfloat16, Scaling::per_channel, Product::int8_bfloat16>(),
                       hopper_widening_kernels_of<bfloat16, Scaling::block, Product::int8_bfloat16>()));
}

}  // namespace expertile::testing
