#define EXPERTILE_EVERY_LANE_ARRIVES  // as for compute-sanitizer's racecheck

#include "emulator/make_hopper_kernels.hpp"

namespace expertile::testing {

std::vector<EmulatedKernel> hopper_kernels_whose_lanes_all_arrive() {
  using enum Storage;
  return {hopper_kernel_whose_lanes_all_arrive<float16, Scaling::none, Product::float16>(),
          hopper_kernel_whose_lanes_all_arrive<e4m3, Scaling::block, Product::e4m3>(),
          hopper_kernel_whose_lanes_all_arrive<int8, Scaling::block, Product::int8>()};
}

}  // namespace expertile::testing
