#pragma once
// Kernels of the GPU families that the host's compiler made from kernels/: a few tiles for every combination of dtype
// and scales. Several files make them, so that they are compiled side by side.

#include <vector>

#include "kernel_spec.hpp"

namespace expertile::testing {

struct EmulatedKernel {
  KernelSpec spec;
  void (*run)(const TiledArgs&) = nullptr;  // a kernel of the portable family looks at args alone
};

// C's type of the index-th kernel of a combination: each writes one, and each family and product writes all three.
constexpr Storage c_of_kernel(Product product, Scaling scaling, int index) {
  constexpr Storage kTypes[] = {Storage::float16, Storage::bfloat16, Storage::float32};
  return kTypes[(static_cast<int>(product) + static_cast<int>(scaling) + index) % 3];
}

[[nodiscard]] std::vector<EmulatedKernel> float16_kernels();
[[nodiscard]] std::vector<EmulatedKernel> bfloat16_kernels();
[[nodiscard]] std::vector<EmulatedKernel> float32_kernels();
[[nodiscard]] std::vector<EmulatedKernel> fp8_kernels();
[[nodiscard]] std::vector<EmulatedKernel> int8_kernels();
[[nodiscard]] std::vector<EmulatedKernel> int8_w8a16_kernels();
[[nodiscard]] std::vector<EmulatedKernel> hopper_float_kernels();
[[nodiscard]] std::vector<EmulatedKernel> hopper_fp8_kernels();
[[nodiscard]] std::vector<EmulatedKernel> hopper_int8_kernels();
[[nodiscard]] std::vector<EmulatedKernel> hopper_int8_w8a16_kernels();
[[nodiscard]] std::vector<EmulatedKernel> hopper_tf32_kernels();
[[nodiscard]] std::vector<EmulatedKernel> hopper_float32_kernels();
[[nodiscard]] std::vector<EmulatedKernel> hopper_kernels_in_subtiles();
[[nodiscard]] std::vector<EmulatedKernel> hopper_kernels_whose_lanes_all_arrive();
[[nodiscard]] std::vector<EmulatedKernel> kernels_of_other_rows();
[[nodiscard]] std::vector<EmulatedKernel> hopper_kernels_of_other_rows();
[[nodiscard]] inline std::vector<EmulatedKernel> all_emulated_kernels() {
  std::vector<EmulatedKernel> all;
  for (const auto& some :
       {float16_kernels(), bfloat16_kernels(), float32_kernels(), fp8_kernels(), int8_kernels(), int8_w8a16_kernels(),
        hopper_float_kernels(), hopper_fp8_kernels(), hopper_int8_kernels(), hopper_int8_w8a16_kernels(),
        hopper_tf32_kernels(), hopper_float32_kernels(), hopper_kernels_in_subtiles(),
        hopper_kernels_whose_lanes_all_arrive(), kernels_of_other_rows(), hopper_kernels_of_other_rows()}) {
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

}  // namespace expertile::testing
