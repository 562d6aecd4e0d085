#pragma once
// Structs that carry their size: how they are read and filled.

#include <algorithm>
#include <cstring>

#include "capi/status.hpp"

namespace expertile::capi {

inline constexpr std::size_t kLargestStruct = 1 << 16;  // a larger size is none

// A struct of the caller's. what: the argument's name; type: the struct's. Where one grows, the size that it has in
// version 0.1.0 stays the least.
template <class T>
[[nodiscard]] Status check_struct(const T* given, const char* what, const char* type) {
  if (given == nullptr) return invalid(fmt::format("{} is null, it must point to an {}", what, type));
  if (given->size == sizeof(T)) return {};
  if (given->size < sizeof(T) || given->size > kLargestStruct) {
    return invalid(fmt::format("{}.size is {}, it must be sizeof({}), {} bytes", what, given->size, type, sizeof(T)));
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  if (std::all_of(bytes + sizeof(T), bytes + given->size, [](unsigned char byte) { return byte == 0; })) return {};
  return fail(ErrorCode::unsupported,
              fmt::format("{} has {} bytes, expertile {} knows the first {} of an {}, and those behind them are not 0",
                          what, given->size, expertile_version(), sizeof(T), type));
}

// Fills a checked struct of the caller's, which keeps its size; what this version does not know becomes 0.
template <class T>
void fill_struct(T value, T* out) {
  value.size = out->size;
  auto* bytes = reinterpret_cast<unsigned char*>(out);
  std::fill(bytes + sizeof(T), bytes + value.size, static_cast<unsigned char>(0));
  std::memcpy(bytes, &value, sizeof(T));
}

}  // namespace expertile::capi
