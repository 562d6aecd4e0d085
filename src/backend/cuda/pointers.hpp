#pragma once
// Whether a call's pointers and stream belong to the device that it was prepared for.

#include <array>
#include <atomic>
#include <span>
#include <string>

#include "backend/cuda/driver.hpp"
#include "expertile/moe_layer.hpp"

namespace expertile::cuda {

// For one device, which must outlive it. Threads may share it.
class PointerCheck {
 public:
  // index: as the driver numbers devices; name: for messages.
  PointerCheck(const Driver& driver, ContextHandle context, int index, std::string name)
      : driver_(driver), context_(context), index_(index), name_(std::move(name)) {}

  // A mistake is one line that names the argument.
  [[nodiscard]] Status check(const GroupedGemmArgs& args) const;
  [[nodiscard]] Status check(const MoeLayerArgs& args) const;

 private:
  struct Pointer {
    const char* name;
    const void* at;  // null: there is none
    std::size_t alignment;
  };
  [[nodiscard]] Status check_all(std::span<const Pointer> pointers) const;
  [[nodiscard]] Status check_stream(void* stream) const;
  [[nodiscard]] Status check_place(const char* argument, const void* pointer) const;

  const Driver& driver_;
  ContextHandle context_;
  int index_;
  std::string name_;
  mutable std::array<std::atomic<DevicePointer>, 256> known_pages_{};
};

}  // namespace expertile::cuda
