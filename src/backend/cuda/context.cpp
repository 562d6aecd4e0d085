#include "backend/cuda/context.hpp"

#include <fmt/format.h>

#include <array>

#include "backend/cuda/cuda_backend.hpp"
#include "device/device_info.hpp"

namespace expertile::cuda {
namespace {

constexpr int kOldestCapability = 80;

Result<DeviceHandle> handle_of(const Driver& driver, int index) {
  const int count = device_count();
  if (index >= count) {
    return fail(ErrorCode::not_found,
                count == 0 ? fmt::format("device 'cuda:{}' does not exist: the driver shows no GPU", index)
                           : fmt::format("device 'cuda:{}' does not exist; give 0 to {}", index, count - 1));
  }
  DeviceHandle device = 0;
  if (auto status = driver.check(driver.device_get(&device, index), "finding the GPU"); !status) {
    return fail(status.error());
  }
  return device;
}

std::string name_of(const Driver& driver, DeviceHandle device) {
  std::array<char, 256> text{};
  driver.device_name(text.data(), static_cast<int>(text.size()) - 1, device);
  return text.data();
}

}  // namespace

Result<DeviceInfo> describe(const Driver& driver, int index) {
  const auto device = handle_of(driver, index);
  if (!device) return fail(device.error());
  const auto attribute = [&](Attribute which) {
    int value = 0;
    driver.device_attribute(&value, static_cast<int>(which), *device);
    return value;
  };
  constexpr std::int64_t kTransfersAClock = 2;  // at both of its edges
  GpuInfo gpu;
  gpu.compute_capability = 10 * attribute(Attribute::capability_major) + attribute(Attribute::capability_minor);
  gpu.multiprocessors = attribute(Attribute::multiprocessors);
  gpu.shared_bytes_per_block = attribute(Attribute::shared_bytes_a_block);
  gpu.l2_bytes = attribute(Attribute::l2_bytes);
  gpu.memory_bytes_per_second =
      kTransfersAClock * 1000 * attribute(Attribute::memory_clock_khz) * attribute(Attribute::memory_bus_bits) / 8;
  const std::string name = name_of(driver, *device);
  if (gpu.compute_capability < kOldestCapability) {
    return fail(ErrorCode::unsupported, fmt::format("{} has compute capability {}.{}; 8.0 or newer is needed", name,
                                                    gpu.compute_capability / 10, gpu.compute_capability % 10));
  }
  int version = 0;
  driver.driver_version(&version);
  return DeviceInfo{
      path_name(name), gpu, 0, {{"CUDA driver", fmt::format("{}.{}", version / 1000, version % 1000 / 10)}}};
}

Result<std::shared_ptr<const PrimaryContext>> PrimaryContext::open(const Driver& driver, int index) {
  const auto device = handle_of(driver, index);
  if (!device) return fail(device.error());
  ContextHandle handle = nullptr;
  if (auto status = driver.check(driver.retain_context(&handle, *device), "opening the GPU"); !status) {
    return fail(status.error());
  }
  return std::make_shared<const PrimaryContext>(driver, index, *device, handle);
}

Status PrimaryContext::refuse_child() const {
  return fail(ErrorCode::unsupported,
              fmt::format("device 'cuda:{}' was opened before this process was forked; open it after, or start the "
                          "process with spawn",
                          index_));
}

std::int64_t PrimaryContext::free_memory_bytes() const {
  const CurrentContext current(driver_, context_);
  std::size_t free_bytes = 0;
  std::size_t total = 0;
  return driver_.memory_info(&free_bytes, &total) == kSuccess ? static_cast<std::int64_t>(free_bytes) : 0;
}

}  // namespace expertile::cuda
