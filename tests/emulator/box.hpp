#pragma once
// A box of a matrix, as a bulk copy brings it or stores it: some rows, 128 bytes of each, of which those outside the
// matrix are nothing.

#include <cstddef>
#include <cstdint>

#include "emulator/tensor_map.hpp"

namespace expertile::emulator {

struct Box {
  MappedMatrix matrix;
  std::int64_t row = 0;
  std::int64_t column = 0;  // elements

  [[nodiscard]] int bytes() const { return matrix.box_rows * kBoxRowBytes; }
};

// The part of a box's row that lies within the matrix.
struct BoxPart {
  const std::byte* data = nullptr;
  std::size_t bytes = 0;  // 0: none
  std::size_t at = 0;     // bytes from the row's begin
};
[[nodiscard]] BoxPart part_within(const Box& box, int row);

// Where 16 bytes of a box's row lie in shared memory, from the box's begin.
[[nodiscard]] constexpr int chunk_place(int row, int chunk) { return kBoxRowBytes * row + 16 * (chunk ^ (row % 8)); }

}  // namespace expertile::emulator
