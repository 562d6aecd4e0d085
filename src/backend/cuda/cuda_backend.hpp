#pragma once
// The CUDA backend: kernels compiled for the device, launched on the caller's stream.

#include <memory>

#include "backend/backend.hpp"

namespace expertile::cuda {

// index: which GPU. An error says what is missing: the driver, the device, or its capability.
[[nodiscard]] Result<std::unique_ptr<Backend>> make_cuda_backend(int index);
// What a GPU is, without opening it: all but its free memory.
[[nodiscard]] Result<DeviceInfo> describe_gpu(int index);
// An error in a child of a process that had started the driver: there may be GPUs, but none can be used. "auto" is no
// CPU then, for the caller's tensors may lie in one.
[[nodiscard]] Status check_forks();
// GPUs that the driver shows; 0 without a driver.
[[nodiscard]] int device_count();

}  // namespace expertile::cuda
