#pragma once
// What the tensor cores compute, from the fragments' layouts of the PTX manual: kernels/ptx.hpp states them.

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "emulator/emulator.hpp"
#include "expertile/types.hpp"

namespace expertile::emulator {

template <class Sum>
struct MmaLane {
  Sum* d;             // [4]
  const unsigned* a;  // [4]
  const unsigned* b;  // [2]
};

// Rows of 32 bytes put together from the lanes' registers.
struct Operands {
  std::array<std::array<std::uint8_t, 32>, 16> a;
  std::array<std::array<std::uint8_t, 32>, 8> b;
};

template <class Sum>
Operands gather(const Lanes& lanes) {
  Operands out;
  for (std::size_t l = 0; l < 32; ++l) {
    const auto& lane = *static_cast<const MmaLane<Sum>*>(lanes[l]);
    for (std::size_t half = 0; half < 2; ++half) {  // bytes 0-15 and 16-31
      std::memcpy(&out.a[l / 4][16 * half + 4 * (l % 4)], &lane.a[2 * half], 4);
      std::memcpy(&out.a[l / 4 + 8][16 * half + 4 * (l % 4)], &lane.a[2 * half + 1], 4);
      std::memcpy(&out.b[l / 4][16 * half + 4 * (l % 4)], &lane.b[half], 4);
    }
  }
  return out;
}

// Element k of a row, of the type that the instruction reads.
inline double float16_at(const std::uint8_t* row, int k) {
  Float16 value;
  std::memcpy(&value.bits, row + 2 * k, 2);
  return to_float(value);
}
inline double bfloat16_at(const std::uint8_t* row, int k) {
  BFloat16 value;
  std::memcpy(&value.bits, row + 2 * k, 2);
  return to_float(value);
}
inline double tf32_at(const std::uint8_t* row, int k) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, row + 4 * k, 4);
  return std::bit_cast<float>(bits & 0xffffe000U);  // the hardware does not look at the rest
}
inline std::int32_t int8_at(const std::uint8_t* row, int k) { return static_cast<std::int8_t>(row[k]); }

// d += a x b^T. Floats are summed in double and rounded once: as exact as any order of the hardware's.
template <class Sum, class Total, int LENGTH, class At>
void multiply_add(const Lanes& lanes, const At& at) {
  const Operands operands = gather<Sum>(lanes);
  for (std::size_t l = 0; l < 32; ++l) {
    auto& lane = *static_cast<MmaLane<Sum>*>(lanes[l]);
    for (std::size_t i = 0; i < 4; ++i) {
      const auto& a = operands.a[l / 4 + 8 * (i / 2)];
      const auto& b = operands.b[2 * (l % 4) + i % 2];
      Total total = lane.d[i];
      for (int k = 0; k < LENGTH; ++k)
        total += static_cast<Total>(at(a.data(), k)) * static_cast<Total>(at(b.data(), k));
      lane.d[i] = static_cast<Sum>(total);
    }
  }
}

}  // namespace expertile::emulator
