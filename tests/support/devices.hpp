#pragma once
// GPUs to plan for where there is none.

#include <string>

#include "expertile/device.hpp"

namespace expertile::testing {

// As large as an H100, with the shared memory of its architecture: "sm_80", "sm_89" or "sm_90a".
inline DeviceInfo a_gpu(const std::string& arch) {
  GpuInfo gpu;
  gpu.compute_capability = arch == "sm_80" ? 80 : arch == "sm_89" ? 89 : 90;
  gpu.multiprocessors = 132;
  gpu.shared_bytes_per_block = (arch == "sm_80" ? 163 : arch == "sm_89" ? 99 : 227) << 10;
  gpu.l2_bytes = 50 << 20;
  return {"Test_" + arch, gpu, 0, {}};
}

}  // namespace expertile::testing
