#pragma once
// Boxes on their way from global memory to the blocks of a cluster, oldest first.

#include <cstddef>
#include <deque>
#include <optional>
#include <string>

#include "emulator/emulator.hpp"
#include "emulator/global_memory.hpp"
#include "emulator/shared_memory.hpp"
#include "emulator/tensor_map.hpp"

namespace expertile::emulator {

struct BoxCopy {
  MappedMatrix from;
  std::int64_t row = 0;
  std::int64_t column = 0;  // elements
  unsigned offset = 0;
  int to = 0;        // rank of the block whose shared memory it fills
  int mbarrier = 0;  // its number there
  int by = 0;        // rank of the block whose thread started it, and where
  int thread = 0;
  Where where;

  [[nodiscard]] int bytes() const { return from.box_rows * kBoxRowBytes; }
};

class BulkCopies {
 public:
  // What is wrong with the rows that the copy would read, if anything.
  [[nodiscard]] static std::optional<std::string> check_source(const BoxCopy& copy, const GlobalMemory& global);

  void add(const BoxCopy& copy) { under_way_.push_back(copy); }
  [[nodiscard]] const BoxCopy* oldest() const { return under_way_.empty() ? nullptr : &under_way_.front(); }
  // Reads the oldest's box as it is now and writes it, permuted; seen by whoever knows of `phase` of its mbarrier.
  void land(int phase, SharedMemory& shared);

 private:
  std::deque<BoxCopy> under_way_;
};

}  // namespace expertile::emulator
