#include "emulator/box.hpp"

#include <algorithm>

namespace expertile::emulator {

BoxPart part_within(const Box& box, int row) {
  const MappedMatrix& matrix = box.matrix;
  const std::int64_t matrix_row = box.row + row;
  const std::int64_t first = std::max<std::int64_t>(box.column, 0);
  const std::int64_t end = std::min(box.column + kBoxRowBytes / matrix.element_bytes, matrix.columns);
  if (matrix_row < 0 || matrix_row >= matrix.rows || first >= end) return {};
  return {matrix.data + matrix_row * matrix.pitch_bytes + first * matrix.element_bytes,
          static_cast<std::size_t>((end - first) * matrix.element_bytes),
          static_cast<std::size_t>((first - box.column) * matrix.element_bytes)};
}

}  // namespace expertile::emulator
