#pragma once
// A workspace of exactly so many bytes, poisoned, with a fence behind it.

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>

#include "moe/buffers.hpp"

namespace expertile::testing {

class LayerWorkspace {
 public:
  explicit LayerWorkspace(std::size_t bytes)
      : bytes_(bytes),
        all_(static_cast<std::byte*>(
                 std::aligned_alloc(kLayerAlignment, (bytes / kLayerAlignment + 2) * kLayerAlignment)),
             &std::free) {
    std::fill_n(all_.get(), bytes_ + kFence, kPattern);
  }
  [[nodiscard]] std::span<std::byte> span() { return {all_.get(), bytes_}; }
  // Nothing behind it was written.
  [[nodiscard]] bool is_intact() const {
    return std::all_of(all_.get() + bytes_, all_.get() + bytes_ + kFence,
                       [](std::byte byte) { return byte == kPattern; });
  }

 private:
  static constexpr std::size_t kFence = kLayerAlignment;
  static constexpr std::byte kPattern{0xa5};
  std::size_t bytes_;
  std::unique_ptr<std::byte, decltype(&std::free)> all_;
};

}  // namespace expertile::testing
