#include "emulator/counted_copies.hpp"

#include <cstdint>
#include <cstring>
#include <vector>

namespace expertile::emulator {
namespace {

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

// As it lies in shared memory.
std::vector<std::byte> read_box(const Box& box) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(box.bytes()));
  for (int row = 0; row < box.matrix.box_rows; ++row) {
    const BoxPart part = part_within(box, row);
    std::byte straight[kBoxRowBytes] = {};
    if (part.bytes > 0) std::memcpy(straight + part.at, part.data, part.bytes);
    if (box.matrix.rounds_to_tf32) round_to_tf32(straight + part.at, part.bytes);
    for (int chunk = 0; chunk < kBoxRowBytes / 16; ++chunk) {
      std::memcpy(bytes.data() + chunk_place(row, chunk), straight + 16 * chunk, 16);
    }
  }
  return bytes;
}

}  // namespace

std::optional<std::string> CountedCopies::check_source(const Box& box, const GlobalMemory& global) {
  for (int row = 0; row < box.matrix.box_rows; ++row) {
    const BoxPart part = part_within(box, row);
    if (part.bytes == 0) continue;
    if (auto fault = global.check_read(part.data, part.bytes, 1)) return fault;
  }
  return std::nullopt;
}

void CountedCopies::land(int phase, SharedMemory& shared) {
  const CountedCopy& copy = under_way_.front();
  if (const Box* box = copy.box()) {
    const std::vector<std::byte> bytes = read_box(*box);
    shared.finish_counted_copy(copy.mbarrier, phase, copy.offset, bytes.size(), bytes.data());
  } else {
    const auto& bytes = std::get<SentStore>(copy.what);
    shared.finish_counted_copy(copy.mbarrier, phase, copy.offset, bytes.size(), bytes.data());
  }
  under_way_.pop_front();
}

}  // namespace expertile::emulator
