#include "expertile/device.hpp"

#include <utility>

#include "backend/backend.hpp"

namespace expertile {

Device::Device(std::shared_ptr<const Backend> backend) : backend_(std::move(backend)) {}

Result<Device> Device::open(std::string_view name, int threads) {
  auto backend = open_backend(name, threads);
  if (!backend) return fail(backend.error());
  return Device(std::move(*backend));
}

const DeviceInfo& Device::info() const noexcept { return backend_->info(); }

std::size_t Device::loaded_kernels() const noexcept { return backend_->loaded_kernels(); }

Status Device::synchronise() const { return backend_->synchronise(); }

}  // namespace expertile
