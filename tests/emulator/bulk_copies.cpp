#include "emulator/bulk_copies.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace expertile::emulator {
namespace {

// The part of a box's row that lies within the matrix.
struct Part {
  const std::byte* from = nullptr;
  std::size_t bytes = 0;  // 0: none
  std::size_t at = 0;     // bytes from the row's begin
};

Part part_within(const BoxCopy& copy, int row) {
  const std::int64_t matrix_row = copy.row + row;
  const std::int64_t first = std::max<std::int64_t>(copy.column, 0);
  const std::int64_t end = std::min(copy.column + kBoxRowBytes / copy.from.element_bytes, copy.from.columns);
  if (matrix_row < 0 || matrix_row >= copy.from.rows || first >= end) return {};
  return {copy.from.data + matrix_row * copy.from.pitch_bytes + first * copy.from.element_bytes,
          static_cast<std::size_t>((end - first) * copy.from.element_bytes),
          static_cast<std::size_t>((first - copy.column) * copy.from.element_bytes)};
}

// To 10 bits of mantissa: to nearest, ties away from zero. Infinities and NaN stay.
void round_to_tf32(std::byte* row, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += 4) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, row + i, 4);
    if ((bits & 0x7f800000U) == 0x7f800000U) continue;
    bits = (bits + 0x1000U) & 0xffffe000U;
    std::memcpy(row + i, &bits, 4);
  }
}

}  // namespace

std::optional<std::string> BulkCopies::check_source(const BoxCopy& copy, const GlobalMemory& global) {
  for (int row = 0; row < copy.from.box_rows; ++row) {
    const Part part = part_within(copy, row);
    if (part.bytes == 0) continue;
    if (auto fault = global.check_read(part.from, part.bytes, 1)) return fault;
  }
  return std::nullopt;
}

void BulkCopies::land(int phase, SharedMemory& shared) {
  const BoxCopy& copy = under_way_.front();
  std::vector<std::byte> box(static_cast<std::size_t>(copy.bytes()));
  for (int row = 0; row < copy.from.box_rows; ++row) {
    const Part part = part_within(copy, row);
    std::byte straight[kBoxRowBytes] = {};
    if (part.bytes > 0) std::memcpy(straight + part.at, part.from, part.bytes);
    if (copy.from.rounds_to_tf32) round_to_tf32(straight + part.at, part.bytes);
    for (int chunk = 0; chunk < kBoxRowBytes / 16; ++chunk) {
      const int place = kBoxRowBytes * row + 16 * (chunk ^ (row % 8));
      std::memcpy(box.data() + place, straight + 16 * chunk, 16);
    }
  }
  shared.finish_bulk_copy(copy.mbarrier, phase, copy.offset, box.size(), box.data());
  under_way_.pop_front();
}

}  // namespace expertile::emulator
