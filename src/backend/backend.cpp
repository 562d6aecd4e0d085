#include "backend/backend.hpp"

#include <fmt/format.h>

#include <charconv>
#include <map>
#include <mutex>
#include <optional>
#include <tuple>

#include "backend/cpu/cpu_backend.hpp"
#include "backend/cuda/cuda_backend.hpp"
#include "process/fork.hpp"

namespace expertile {
namespace {

// "cuda" -> 0, "cuda:3" -> 3.
std::optional<int> gpu_index(std::string_view device) {
  if (device == "cuda") return 0;
  if (!device.starts_with("cuda:")) return std::nullopt;
  const std::string_view number = device.substr(5);
  int index = -1;
  const auto parsed = std::from_chars(number.data(), number.data() + number.size(), index);
  const bool good = parsed.ec == std::errc() && parsed.ptr == number.data() + number.size() && index >= 0;
  return good ? std::optional<int>(index) : std::nullopt;
}

struct Opened {
  // Which device, and how much of it.
  struct Key {
    int gpu = -1;  // -1: the CPU
    int threads = 0;
    int isa = -1;  // a CpuIsa; -1: the best
    friend bool operator<(const Key& a, const Key& b) {
      return std::tie(a.gpu, a.threads, a.isa) < std::tie(b.gpu, b.threads, b.isa);
    }
  };
  std::mutex mutex;
  std::map<Key, std::shared_ptr<const Backend>> backends;
};

// Never destroyed: enqueued work and captured graphs use kernels and counters, and when static objects go the driver
// may have gone before them. A child of fork() opens its own: another thread may have been opening one in its parent.
Opened& opened() {
  static constinit PerProcess<Opened> all;
  return all.get();
}

template <class Make>
Result<std::shared_ptr<const Backend>> find_or_open(const Opened::Key& key, const Make& make) {
  Opened& all = opened();
  const std::lock_guard guard(all.mutex);
  if (const auto known = all.backends.find(key); known != all.backends.end()) return known->second;
  auto made = make();
  if (!made) return fail(made.error());
  return all.backends.emplace(key, std::move(*made)).first->second;
}

Result<std::shared_ptr<const Backend>> open_gpu(int index) {
  return find_or_open({.gpu = index}, [index] { return cuda::make_cuda_backend(index); });
}

tl::unexpected<Error> unknown_device(std::string_view device) {
  return fail(ErrorCode::invalid_argument,
              fmt::format("device '{}' is not known; choose auto, cpu or cuda[:I]", device));
}

}  // namespace

Result<DeviceInfo> describe_device(std::string_view device, int threads) {
  if (device == "auto") {
    if (auto status = cuda::check_forks(); !status) return fail(status.error());
    if (auto gpu = cuda::describe_gpu(0)) return gpu;
  }
  if (const auto index = gpu_index(device)) return cuda::describe_gpu(*index);
  if (device != "auto" && device != "cpu") return unknown_device(device);
  const auto cpu = open_backend("cpu", threads);
  if (!cpu) return fail(cpu.error());
  return (*cpu)->info();
}

Result<std::shared_ptr<const Backend>> open_backend(std::string_view device, int threads, std::optional<CpuIsa> isa) {
  if (device == "auto" && !isa) {
    if (auto status = cuda::check_forks(); !status) return fail(status.error());
    if (auto gpu = open_gpu(0)) return gpu;
  }
  if (device == "auto" || device == "cpu") {
    return find_or_open({.threads = threads, .isa = isa ? static_cast<int>(*isa) : -1},
                        [&] { return cpu::make_cpu_backend(threads, isa); });
  }
  if (const auto index = gpu_index(device)) return open_gpu(*index);
  return unknown_device(device);
}

}  // namespace expertile
