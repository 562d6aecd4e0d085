#include "backend/backend.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "backend/cpu/cpu_backend.hpp"
#include "backend/cuda/cuda_backend.hpp"

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

}  // namespace

Result<std::unique_ptr<Backend>> make_backend(std::string_view device, int threads, std::optional<CpuIsa> isa) {
  if (device == "auto" && !isa && cuda::device_count() > 0) {
    if (auto gpu = cuda::make_cuda_backend(0)) return gpu;
  }
  if (device == "auto" || device == "cpu") return cpu::make_cpu_backend(threads, isa);
  if (const auto index = gpu_index(device)) return cuda::make_cuda_backend(*index);
  return fail(ErrorCode::invalid_argument,
              fmt::format("device '{}' is not known; choose auto, cpu or cuda[:I]", device));
}

}  // namespace expertile
