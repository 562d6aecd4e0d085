#include "device/device_info.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace expertile {

std::string_view name(CpuIsa isa) noexcept {
  switch (isa) {
    case CpuIsa::portable:
      return "portable";
    case CpuIsa::avx2:
      return "avx2";
    case CpuIsa::avx512:
      return "avx512";
    case CpuIsa::avx512_bf16:
      break;
  }
  return "avx512_bf16";
}

std::string arch_name(const GpuInfo& gpu) {
  // From 9.0 on, "a" stands for the instructions of that architecture alone, which the kernels use.
  return fmt::format("sm_{}{}", gpu.compute_capability, gpu.compute_capability >= 90 ? "a" : "");
}

std::string_view kind_name(const DeviceInfo& device) noexcept { return device.is_gpu() ? "cuda" : "cpu"; }

std::string isa_name(const DeviceInfo& device) {
  return device.is_gpu() ? arch_name(device.gpu()) : std::string(name(device.cpu().isa));
}

std::int64_t last_cache_bytes(const DeviceInfo& device) {
  if (device.is_gpu()) return device.gpu().l2_bytes;
  return std::max(device.cpu().l2_bytes_core, device.cpu().l3_bytes);
}

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
