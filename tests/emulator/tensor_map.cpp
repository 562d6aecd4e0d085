#include "emulator/tensor_map.hpp"

#include <fmt/format.h>

#include <cstring>

namespace expertile::emulator {
namespace {

constexpr std::uint64_t kMark = 0x7465'6e73'6f72'6d70;  // after the description

TensorMap map_of(const MappedMatrix& matrix) {
  TensorMap map{};
  static_assert(sizeof(matrix) + sizeof(kMark) <= sizeof(map.bytes));
  std::memcpy(map.bytes, &matrix, sizeof(matrix));
  std::memcpy(map.bytes + sizeof(matrix), &kMark, sizeof(kMark));
  return map;
}

}  // namespace

TensorMap make_tensor_map(const void* data, std::int64_t rows, std::int64_t columns, std::int64_t pitch_bytes,
                          int element_bytes, int box_rows) {
  return map_of({static_cast<const std::byte*>(data), rows, columns, pitch_bytes, element_bytes, box_rows});
}

TensorMap rounding_to_tf32(const TensorMap& map) {
  MappedMatrix matrix = matrix_of(map);
  matrix.rounds_to_tf32 = true;
  return map_of(matrix);
}

MappedMatrix matrix_of(const TensorMap& map) {
  MappedMatrix matrix;
  std::memcpy(&matrix, map.bytes, sizeof(matrix));
  return matrix;
}

std::optional<std::string> check_map(const TensorMap& map) {
  std::uint64_t mark = 0;
  std::memcpy(&mark, map.bytes + sizeof(MappedMatrix), sizeof(mark));
  if (mark != kMark) return "the tensor map was not made by make_tensor_map";
  const MappedMatrix m = matrix_of(map);
  const auto address = reinterpret_cast<std::uintptr_t>(m.data);
  if (address % 16 != 0) return fmt::format("the tensor map's matrix at {} is not aligned to 16 bytes", address);
  if (m.pitch_bytes % 16 != 0)
    return fmt::format("the tensor map's pitch is {} bytes, no multiple of 16", m.pitch_bytes);
  if (m.rows < 1 || m.columns < 1 || m.pitch_bytes < m.columns * m.element_bytes) {
    return fmt::format("the tensor map's matrix is {} x {} elements of {} bytes, {} bytes a row", m.rows, m.columns,
                       m.element_bytes, m.pitch_bytes);
  }
  if (m.element_bytes != 1 && m.element_bytes != 2 && m.element_bytes != 4) {
    return fmt::format("the tensor map's elements have {} bytes", m.element_bytes);
  }
  if (m.rounds_to_tf32 && m.element_bytes != 4) {
    return fmt::format("the tensor map rounds elements of {} bytes to tf32", m.element_bytes);
  }
  if (m.box_rows < 1 || m.box_rows > 256) return fmt::format("the tensor map's box has {} rows", m.box_rows);
  return std::nullopt;
}

}  // namespace expertile::emulator
