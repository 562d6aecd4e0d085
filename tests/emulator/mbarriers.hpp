#pragma once
// A block's barriers in shared memory: who has arrived, which bytes are missing, and what those who wait learn.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "emulator/clocks.hpp"
#include "emulator/shared_memory.hpp"

namespace expertile::emulator {

// Threads are numbered through the cluster: those of its other blocks arrive here, too, and start copies.
class Mbarriers {
 public:
  // first_thread: the block's first thread's number in its cluster.
  Mbarriers(SharedMemory& shared, Clocks& clocks, int first_thread)
      : shared_(shared), clocks_(clocks), first_thread_(first_thread) {}

  // Each returns what is wrong, if anything.
  [[nodiscard]] std::optional<std::string> init(int thread, unsigned offset, int arrivals);
  [[nodiscard]] std::optional<std::string> check_use(int thread, unsigned offset) const;
  // The rest after check_use.
  [[nodiscard]] std::optional<std::string> arrive(int thread, unsigned offset, int bytes);
  [[nodiscard]] std::optional<std::string> start_copy(int thread, unsigned offset);
  [[nodiscard]] std::optional<std::string> finish_copy(int number, int bytes);
  // A block is not to end within a phase: with arrivals or bytes that nobody can have waited for.
  [[nodiscard]] std::optional<std::string> check_end() const;

  void fence_inits(int thread);
  [[nodiscard]] int number(unsigned offset) const;  // -1: none is there
  // Whether a wait passes; if so, the thread learns what the phase has to tell.
  [[nodiscard]] bool passes(int thread, int number, int parity);
  [[nodiscard]] int phase(int number) const { return all_[static_cast<std::size_t>(number)].phase; }
  [[nodiscard]] unsigned offset(int number) const { return all_[static_cast<std::size_t>(number)].offset; }
  [[nodiscard]] int agent(int number) const { return all_[static_cast<std::size_t>(number)].agent; }
  // Whether a phase has ended since the last call.
  [[nodiscard]] bool take_ended() { return std::exchange(ended_, false); }
  [[nodiscard]] std::string describe(int number) const;

 private:
  struct Mbarrier {
    unsigned offset = 0;
    int agent = 0;
    int arrivals = 0;     // a phase
    int missing = 0;      // arrivals of this phase
    long long bytes = 0;  // expected and not copied; negative: copied before the arrival that expects them
    int phase = 0;        // under way, counted from 0
    int copies = 0;       // under way
    int initialiser = 0;  // thread
    int initialised = 0;  // its warp's time
    int fenced = 0;       // likewise; 0: not yet
    Knowledge arriving;   // what this phase's arrivals publish
    Knowledge learnt;     // what the last phase's did
  };
  [[nodiscard]] std::optional<std::string> settle(Mbarrier& one);
  Mbarrier& at(unsigned offset) { return all_[static_cast<std::size_t>(number(offset))]; }

  SharedMemory& shared_;
  Clocks& clocks_;
  int first_thread_;
  std::vector<Mbarrier> all_;
  bool ended_ = false;
};

}  // namespace expertile::emulator
