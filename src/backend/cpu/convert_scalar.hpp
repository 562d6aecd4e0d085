#pragma once
// Conversions one element at a time: the portable build's, and the tails of the vector ones.
// Unnamed namespace for the reason given in microkernel.hpp; to_float and friends are ordinary functions of the
// library.

#include <cstring>

#include "backend/cpu/kernels.hpp"
#include "expertile/types.hpp"

namespace expertile::cpu {
namespace {

struct Int8 {
  std::int8_t value;
};
struct Float32 {
  float value;
};
inline float to_float(Int8 x) { return x.value; }
inline float to_float(Float32 x) { return x.value; }

template <class T>
void scalar_to_float(const void* source, float* packed, std::int64_t count, float scale) {
  using expertile::to_float;
  const T* from = static_cast<const T*>(source);
  for (std::int64_t i = 0; i < count; ++i) packed[i] = to_float(from[i]) * scale;
}

// Only for sources that bfloat16 holds exactly: the upper half of the float.
template <class T>
void scalar_to_bfloat16(const void* source, std::uint16_t* packed, std::int64_t count) {
  using expertile::to_float;
  const T* from = static_cast<const T*>(source);
  for (std::int64_t i = 0; i < count; ++i) packed[i] = to_bfloat16(to_float(from[i])).bits;
}

inline void scalar_int16_from_int8(const void* source, std::uint16_t* packed, std::int64_t count) {
  const auto* from = static_cast<const std::int8_t*>(source);
  for (std::int64_t i = 0; i < count; ++i) packed[i] = static_cast<std::uint16_t>(static_cast<std::int16_t>(from[i]));
}

inline void scalar_float16_from_float(const float* source, std::uint16_t* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = to_float16(source[i]).bits;
}

}  // namespace
}  // namespace expertile::cpu
