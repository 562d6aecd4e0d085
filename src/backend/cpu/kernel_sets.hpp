#pragma once
// The instruction sets that this machine runs, and their kernels.

#include <vector>

#include "backend/cpu/kernels.hpp"
#include "expertile/device.hpp"

namespace expertile::cpu {

struct NamedKernels {
  CpuIsa isa = CpuIsa::portable;
  const KernelSet* kernels = nullptr;  // lives as long as the process
};
// The best first; the portable one is always there.
[[nodiscard]] std::vector<NamedKernels> kernel_sets();

}  // namespace expertile::cpu
