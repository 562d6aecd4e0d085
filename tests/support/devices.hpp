#pragma once
// GPUs to plan for where there is none.

#include <string>

#include "backend/backend.hpp"

namespace expertile::testing {

// As large as an H100, with the shared memory of its architecture: "sm_80", "sm_89" or "sm_90a".
inline DeviceInfo a_gpu(const std::string& arch) {
  DeviceInfo device;
  device.kind = "cuda";
  device.name = "Test_" + arch;
  device.isa = arch;
  device.threads = 132;
  device.l1_bytes = (arch == "sm_80" ? 163 : arch == "sm_89" ? 99 : 227) << 10;
  device.l2_bytes = 50 << 20;
  return device;
}

}  // namespace expertile::testing
