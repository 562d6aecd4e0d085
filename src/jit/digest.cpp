#include "jit/digest.hpp"

#include <fmt/format.h>

namespace expertile::jit {

std::string digest_of(std::string_view text) {
  constexpr std::uint64_t kOtherStart = 0x9e3779b97f4a7c15U;
  return fmt::format("{:016x}{:016x}", hash(text), hash(text, kOtherStart));
}

}  // namespace expertile::jit
