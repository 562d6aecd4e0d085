#pragma once
// A cluster while it runs: its blocks side by side, the copies under way to them, and what one block does to another.
// A launch without clusters has clusters of one block.

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "emulator/block.hpp"
#include "emulator/clocks.hpp"
#include "emulator/counted_copies.hpp"
#include "emulator/emulator.hpp"
#include "emulator/global_memory.hpp"

namespace expertile::emulator {

class Cluster {
 public:
  Cluster(const Launch& launch, GlobalMemory& global, Stacks& stacks, int first_block);

  // The first fault, if there is one.
  std::optional<std::string> run(const std::function<void()>& kernel);

  // Each on behalf of the current thread of `from`.
  void barrier(Block& from, const Where& where);
  void arrive_at(Block& from, unsigned offset, int rank, const Where& where);
  void store_shared_to(Block& from, int rank, unsigned offset, const SentStore& bytes, unsigned mbarrier,
                       const Where& where);
  // ranks: a bit for each block that the box goes to.
  void copy_box(Block& from, unsigned offset, const TensorMap& map, int column, int row, unsigned mbarrier,
                unsigned ranks, const Where& where);

  Clocks clocks;

 private:
  // The latest that an agent did to another block, which is not to end before it.
  struct Visit {
    int time = 0;
    const char* what = "";
    unsigned mbarrier = 0;
    int by = 0;  // rank of the block whose thread did it, and where
    int thread = 0;
    Where where;
  };
  using Visits = std::map<int, Visit>;  // by agent

  // The block of that rank, if `from` may reach into it now.
  Block& reach(const Block& from, int rank, const Where& where);
  // "in block 3: " where that is not `from` itself.
  [[nodiscard]] static std::string place(const Block& from, const Block& to);
  void start_copy(Block& from, Block& to, const CountedCopy& copy, unsigned mbarrier);
  // What happens once no thread can advance: copies land, the oldest first, until one can, and with what is wrong in
  // that.
  [[nodiscard]] std::optional<std::string> land_copies();
  [[nodiscard]] std::string describe(const CountedCopy& copy, const std::string& what) const;
  [[nodiscard]] std::string ended_during(const CountedCopy& copy) const;
  [[nodiscard]] std::string deadlock() const;
  [[nodiscard]] std::optional<std::string> check_end() const;
  [[nodiscard]] std::optional<std::string> check_visits(const Block& block) const;
  [[nodiscard]] const Block& at(int rank) const { return blocks_[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] Block& at(int rank) { return blocks_[static_cast<std::size_t>(rank)]; }

  const Launch& launch_;
  std::deque<Block> blocks_;  // by rank
  CountedCopies copies_;
  std::vector<Visits> visits_;  // [blocks], to them
  std::vector<int> everyone_;   // all threads
  std::size_t at_barrier_ = 0;  // threads
  Where barrier_where_;
  int barriers_ = 0;  // that all threads have passed
};

}  // namespace expertile::emulator
