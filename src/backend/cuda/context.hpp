#pragma once
// A GPU's primary context: the one that the CUDA runtime, and so every framework, uses too.

#include "backend/cuda/driver.hpp"
#include "expertile/device.hpp"
#include "process/fork.hpp"

namespace expertile::cuda {

// What the driver says of a device without opening it: all but its free memory. An error says what is missing: the
// device, or its compute capability.
[[nodiscard]] Result<DeviceInfo> describe(const Driver& driver, int index);

// Retained for as long as this lives.
class PrimaryContext {
 public:
  // index: as the driver numbers devices. It was described before.
  [[nodiscard]] static Result<std::shared_ptr<const PrimaryContext>> open(const Driver& driver, int index);
  PrimaryContext(const Driver& driver, int index, DeviceHandle device, ContextHandle context)
      : driver_(driver), index_(index), device_(device), context_(context) {}
  ~PrimaryContext() {
    if (!is_of_a_parent()) driver_.release_context(device_);
  }
  PrimaryContext(const PrimaryContext&) = delete;
  PrimaryContext& operator=(const PrimaryContext&) = delete;

  [[nodiscard]] const Driver& driver() const { return driver_; }
  [[nodiscard]] ContextHandle handle() const { return context_; }
  [[nodiscard]] int index() const { return index_; }
  [[nodiscard]] std::int64_t free_memory_bytes() const;  // 0 where unknown
  // An error in a child of the process that opened it, where no call of the driver may be made with it.
  [[nodiscard]] Status check_forks() const { return is_of_a_parent() ? refuse_child() : Status(); }
  [[nodiscard]] bool is_of_a_parent() const { return forks_ != forks(); }

 private:
  [[nodiscard]] Status refuse_child() const;

  const Driver& driver_;
  int index_;
  DeviceHandle device_;
  ContextHandle context_;
  unsigned forks_ = forks();  // when it was opened
};

}  // namespace expertile::cuda
