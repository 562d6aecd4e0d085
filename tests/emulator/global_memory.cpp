#include "emulator/global_memory.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <cstring>

namespace expertile::emulator {

GlobalMemory::GlobalMemory(const std::vector<Region>& regions) : regions_(regions) {
  for (const Region& region : regions) written_.emplace_back(region.is_output ? region.bytes : 0);
}

std::size_t GlobalMemory::find(const void* at, std::size_t bytes) const {
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    const auto first = reinterpret_cast<std::uintptr_t>(regions_[i].begin);
    if (begin >= first && begin + bytes <= first + regions_[i].bytes) return i;
  }
  return regions_.size();
}

std::optional<std::string> GlobalMemory::check(const void* at, std::size_t bytes, std::size_t alignment,
                                               bool writes) const {
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  if (begin % alignment != 0) return fmt::format("global memory {} is not aligned to {} bytes", at, alignment);
  const std::size_t found = find(at, bytes);
  if (found == regions_.size()) {
    return fmt::format("{} {} bytes of global memory at {}, outside every tensor", writes ? "writes" : "reads", bytes,
                       at);
  }
  const Region& region = regions_[found];
  if ((region.is_output || region.is_counter) == writes) return std::nullopt;
  return fmt::format("{} byte {} of {}", writes ? "writes to" : "reads",
                     begin - reinterpret_cast<std::uintptr_t>(region.begin), region.name);
}

std::optional<std::string> GlobalMemory::check_read(const void* from, std::size_t bytes, std::size_t alignment) const {
  return check(from, bytes, alignment, false);
}

std::optional<std::string> GlobalMemory::check_counter(const int* counter) const {
  if (auto fault = check(counter, sizeof(int), sizeof(int), true)) return fault;
  const Region& region = regions_[find(counter, sizeof(int))];
  if (region.is_counter) return std::nullopt;
  return fmt::format("adds to {}, which is no counter", region.name);
}

std::optional<std::string> GlobalMemory::write(void* to, std::size_t bytes, std::size_t alignment, const void* from) {
  if (auto fault = check(to, bytes, alignment, true)) return fault;
  const std::size_t region = find(to, bytes);
  const auto first =
      static_cast<std::size_t>(static_cast<const char*>(to) - static_cast<const char*>(regions_[region].begin));
  for (std::size_t i = first; !regions_[region].is_counter && i < first + bytes; ++i) {
    if (written_[region][i]) return fmt::format("byte {} of {} is written a second time", i, regions_[region].name);
    written_[region][i] = true;
  }
  std::memcpy(to, from, bytes);
  return std::nullopt;
}

}  // namespace expertile::emulator
