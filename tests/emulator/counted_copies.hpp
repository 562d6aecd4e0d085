#pragma once
// What is on its way to the blocks of a cluster, and is counted by mbarriers there, oldest first: boxes from global
// memory, and the stores that one block sends another.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>

#include "emulator/box.hpp"
#include "emulator/emulator.hpp"
#include "emulator/global_memory.hpp"
#include "emulator/shared_memory.hpp"

namespace expertile::emulator {

using SentStore = std::array<std::byte, 16>;

struct CountedCopy {
  std::variant<Box, SentStore> what;
  unsigned offset = 0;
  int to = 0;        // rank of the block whose shared memory it fills
  int mbarrier = 0;  // its number there
  int by = 0;        // rank of the block whose thread started it, and where
  int thread = 0;
  Where where;

  [[nodiscard]] const Box* box() const { return std::get_if<Box>(&what); }  // nullptr: a store
  [[nodiscard]] const char* name() const { return box() != nullptr ? "bulk copy" : "store"; }
  [[nodiscard]] int bytes() const { return box() != nullptr ? box()->bytes() : 16; }
};

class CountedCopies {
 public:
  // What is wrong with the rows that a copy of the box would read, if anything.
  [[nodiscard]] static std::optional<std::string> check_source(const Box& box, const GlobalMemory& global);

  void add(const CountedCopy& copy) { under_way_.push_back(copy); }
  [[nodiscard]] const CountedCopy* oldest() const { return under_way_.empty() ? nullptr : &under_way_.front(); }
  // Writes the oldest: a store's bytes, or the box as it is now, permuted. Seen by whoever knows of `phase` of its
  // mbarrier.
  void land(int phase, SharedMemory& shared);

 private:
  std::deque<CountedCopy> under_way_;
};

}  // namespace expertile::emulator
