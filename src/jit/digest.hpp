#pragma once
// What names a text among others.

#include <cstdint>
#include <string>
#include <string_view>

namespace expertile::jit {

// FNV-1a, 64 bits, from a given start.
[[nodiscard]] constexpr std::uint64_t hash(std::string_view text, std::uint64_t start = 0xcbf29ce484222325U) noexcept {
  std::uint64_t value = start;
  for (const char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return value;
}

// Two of them, as 32 hexadecimal digits.
[[nodiscard]] std::string digest_of(std::string_view text);

}  // namespace expertile::jit
