// Devices: opened, and told.

#include "capi/objects.hpp"
#include "capi/structs.hpp"

namespace expertile::capi {
namespace {

expertile_device_info info_of(const OpenDevice& open) {
  const DeviceInfo& device = open.device.info();
  expertile_device_info info{};
  info.is_gpu = device.is_gpu() ? 1 : 0;
  info.name = device.name.c_str();
  info.instructions = open.instructions.c_str();
  info.free_memory_bytes = device.free_memory_bytes;
  info.loaded_kernels = static_cast<std::int64_t>(open.device.loaded_kernels());
  if (device.is_gpu()) {
    const GpuInfo& gpu = device.gpu();
    info.last_cache_bytes = gpu.l2_bytes;
    info.compute_capability = gpu.compute_capability;
    info.multiprocessors = gpu.multiprocessors;
    info.shared_bytes_per_block = gpu.shared_bytes_per_block;
    info.memory_bytes_per_second = gpu.memory_bytes_per_second;
  } else {
    info.threads = device.cpu().threads;
    info.last_cache_bytes = device.cpu().l3_bytes;
  }
  return info;
}

}  // namespace
}  // namespace expertile::capi

extern "C" {

expertile_status expertile_device_open(const char* name, int threads, expertile_device** out) {
  using namespace expertile;
  return capi::add_handle(capi::devices(), out, [&]() -> Result<std::shared_ptr<const capi::OpenDevice>> {
    const std::string asked_for = name == nullptr ? "auto" : name;
    auto device = Device::open(asked_for, threads);
    if (!device) return fail(device.error());
    std::string instructions = isa_name(device->info());
    return std::make_shared<const capi::OpenDevice>(
        capi::OpenDevice{std::move(*device), asked_for, threads, std::move(instructions)});
  });
}

expertile_status expertile_device_get_info(const expertile_device* device, expertile_device_info* info) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    const auto found = capi::find(device);
    if (!found) return fail(found.error());
    if (auto status = capi::check_struct(info, "info", "expertile_device_info"); !status) return status;
    capi::fill_struct(capi::info_of(**found), info);
    return {};
  });
}

expertile_status expertile_device_synchronise(const expertile_device* device) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    const auto found = capi::find(device);
    if (!found) return fail(found.error());
    return (*found)->device.synchronise();
  });
}

}  // extern "C"
