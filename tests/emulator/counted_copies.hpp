#pragma once
// What is on its way to the blocks of a cluster, and is counted by mbarriers there, oldest first: boxes from global
// memory, the stores that one block sends another, and the words that a thread copies and then arrives with.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "emulator/box.hpp"
#include "emulator/emulator.hpp"
#include "emulator/global_memory.hpp"
#include "emulator/shared_memory.hpp"

namespace expertile::emulator {

using SentStore = std::array<std::byte, 16>;
// cp.async: the first `bytes` come from global memory, the others of `size` become zero.
struct Copy {
  unsigned offset = 0;
  const void* from = nullptr;
  int bytes = 0;
  int size = 16;

  // What it writes, in the first `size` of these: its source as it is now.
  [[nodiscard]] std::array<std::byte, 16> read() const;
};
// What a thread has begun to copy before the arrival that waits for it.
using Words = std::vector<Copy>;

struct CountedCopy {
  std::variant<Box, SentStore, Words> what;
  unsigned offset = 0;  // of all but words, which have their own
  int to = 0;           // rank of the block whose shared memory it fills
  int mbarrier = 0;     // its number there
  int by = 0;           // rank of the block whose thread started it, and where
  int thread = 0;
  Where where;

  [[nodiscard]] const Box* box() const { return std::get_if<Box>(&what); }  // nullptr: another
  [[nodiscard]] const Words* words() const { return std::get_if<Words>(&what); }
  [[nodiscard]] const char* name() const {
    return box() != nullptr ? "bulk copy" : words() != nullptr ? "arrival with copied words" : "store";
  }
  // That the mbarrier counts as bytes; words are an arrival.
  [[nodiscard]] int bytes() const { return box() != nullptr ? box()->bytes() : words() != nullptr ? 0 : 16; }
};

class CountedCopies {
 public:
  // What is wrong with the rows that a copy of the box would read, if anything.
  [[nodiscard]] static std::optional<std::string> check_source(const Box& box, const GlobalMemory& global);

  void add(const CountedCopy& copy) { under_way_.push_back(copy); }
  [[nodiscard]] const CountedCopy* oldest() const { return under_way_.empty() ? nullptr : &under_way_.front(); }
  // Writes the oldest: a store's bytes, words, or the box as it is now, permuted. Seen by whoever knows of `phase` of
  // its mbarrier.
  void land(int phase, SharedMemory& shared);

 private:
  std::deque<CountedCopy> under_way_;
};

}  // namespace expertile::emulator
