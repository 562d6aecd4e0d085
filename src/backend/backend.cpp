#include "backend/backend.hpp"

#include <fmt/format.h>

#include "backend/cpu/cpu_backend.hpp"

namespace expertile {

Result<std::unique_ptr<Backend>> make_backend(std::string_view device, int threads, std::string_view isa) {
  if (device == "auto" || device == "cpu") return cpu::make_cpu_backend(threads, isa);
  if (device.starts_with("cuda")) {
    return fail(ErrorCode::unsupported,
                fmt::format("device '{}' needs a CUDA backend, which this build does not have; use cpu", device));
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("device '{}' is not known; choose auto, cpu or cuda[:I]", device));
}

}  // namespace expertile
