#include "backend/cpu/kernel_sets.hpp"

namespace expertile::cpu {

std::vector<NamedKernels> kernel_sets() {
  std::vector<NamedKernels> sets;
  for (const NamedKernels& one :
       {NamedKernels{CpuIsa::avx512_bf16, avx512_bf16_kernels()}, NamedKernels{CpuIsa::avx512, avx512_kernels()},
        NamedKernels{CpuIsa::avx2, avx2_kernels()}, NamedKernels{CpuIsa::portable, portable_kernels()}}) {
    if (one.kernels != nullptr) sets.push_back(one);
  }
  return sets;
}

}  // namespace expertile::cpu
