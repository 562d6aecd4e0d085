#pragma once
// Whether a call's pointers and stream belong to the device that it was prepared for.

#include <array>
#include <atomic>
#include <string>

#include "backend/cuda/driver.hpp"
#include "expertile/grouped_gemm.hpp"

namespace expertile::cuda {

// For one device, which must outlive it. Threads may share it.
class PointerCheck {
 public:
  // index: as the driver numbers devices; name: for messages.
  PointerCheck(const Driver& driver, ContextHandle context, int index, std::string name)
      : driver_(driver), context_(context), index_(index), name_(std::move(name)) {}

  // A mistake is one line that names the argument.
  [[nodiscard]] Status check(const GroupedGemmArgs& args) const;

 private:
  [[nodiscard]] Status check_place(const char* argument, const void* pointer) const;

  const Driver& driver_;
  ContextHandle context_;
  int index_;
  std::string name_;
  mutable std::array<std::atomic<DevicePointer>, 256> known_pages_{};
};

}  // namespace expertile::cuda
