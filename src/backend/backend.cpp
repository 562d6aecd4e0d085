#include "backend/backend.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
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

Result<std::unique_ptr<Backend>> make_backend(std::string_view device, int threads, std::string_view isa) {
  if (device == "auto" && isa.empty() && cuda::device_count() > 0) {
    if (auto gpu = cuda::make_cuda_backend(0)) return gpu;
  }
  if (device == "auto" || device == "cpu") return cpu::make_cpu_backend(threads, isa);
  if (const auto index = gpu_index(device)) return cuda::make_cuda_backend(*index);
  return fail(ErrorCode::invalid_argument,
              fmt::format("device '{}' is not known; choose auto, cpu or cuda[:I]", device));
}

std::int64_t last_cache_bytes(const DeviceInfo& device) { return std::max(device.l2_bytes, device.l3_bytes); }

std::string path_name(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool keep = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.';
    if (keep) {
      out += c;
    } else if (!out.empty() && out.back() != '_') {
      out += '_';
    }
  }
  while (!out.empty() && out.back() == '_') out.pop_back();
  return out.empty() || out.front() == '.' ? "device" : out;
}

}  // namespace expertile
