#pragma once
// What the emulator keeps in a TensorMap's 128 bytes.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "kernel_spec.hpp"

namespace expertile::emulator {

inline constexpr int kBoxRowBytes = 128;

struct MappedMatrix {
  const std::byte* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t columns = 0;  // elements
  std::int64_t pitch_bytes = 0;
  int element_bytes = 0;
  int box_rows = 0;
  bool rounds_to_tf32 = false;
};

[[nodiscard]] TensorMap make_tensor_map(const void* data, std::int64_t rows, std::int64_t columns,
                                        std::int64_t pitch_bytes, int element_bytes, int box_rows);

// The same map of float32, whose copies round to tf32.
[[nodiscard]] TensorMap rounding_to_tf32(const TensorMap& map);

// What is wrong with a map, if anything: it is none, or the driver would not have encoded it.
[[nodiscard]] std::optional<std::string> check_map(const TensorMap& map);
[[nodiscard]] MappedMatrix matrix_of(const TensorMap& map);

}  // namespace expertile::emulator
