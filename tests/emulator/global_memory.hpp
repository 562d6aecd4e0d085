#pragma once
// A launch's global memory: what may be read, what may be written, and what has been.

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "emulator/emulator.hpp"

namespace expertile::emulator {

class GlobalMemory {
 public:
  explicit GlobalMemory(const std::vector<Region>& regions);

  // Each returns what is wrong, if anything.
  [[nodiscard]] std::optional<std::string> check_read(const void* from, std::size_t bytes, std::size_t alignment) const;
  [[nodiscard]] std::optional<std::string> check_counter(const int* counter) const;
  [[nodiscard]] std::optional<std::string> write(void* to, std::size_t bytes, std::size_t alignment, const void* from);

 private:
  // The region that holds the bytes; its size where none does.
  [[nodiscard]] std::size_t find(const void* at, std::size_t bytes) const;
  [[nodiscard]] std::optional<std::string> check(const void* at, std::size_t bytes, std::size_t alignment,
                                                 bool writes) const;

  const std::vector<Region>& regions_;
  std::vector<std::vector<bool>> written_;  // [regions, bytes] of outputs, over all blocks of a launch
};

}  // namespace expertile::emulator
