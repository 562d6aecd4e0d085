#pragma once
// The order that barriers make between the accesses of a cluster's threads, as vector clocks. Threads and warps are
// numbered through the cluster here: block after block.
//
// Agents are the warps and, for the bulk copies that they count, the mbarriers. A warp's time advances whenever one of
// its threads publishes what was done; an mbarrier's time is the number of its phases that have ended. A thread knows
// of an agent up to a time: what the agent did until then comes before what the thread does now.

#include <algorithm>
#include <cstddef>
#include <vector>

namespace expertile::emulator {

inline constexpr int kWarp = 32;
inline constexpr int kWarpgroup = 128;

using Knowledge = std::vector<int>;  // [agents] times

// A thread at a moment.
struct Observer {
  int thread = 0;
  int time = 0;                // of its warp
  const int* known = nullptr;  // [agents]
};

class Clocks {
 public:
  Clocks(int blocks, int threads_a_block)
      : times_(static_cast<std::size_t>(blocks * (threads_a_block / kWarp)), 1),
        known_(static_cast<std::size_t>(blocks * threads_a_block), Knowledge(times_.size(), 0)) {}

  [[nodiscard]] Observer observer(int thread) const {
    return {thread, times_[index(thread / kWarp)], known_[index(thread)].data()};
  }
  // Another agent, of which nobody knows anything. Observers of before are no longer valid.
  int add_agent() {
    for (Knowledge& one : known_) one.push_back(0);
    return static_cast<int>(known_.front().size()) - 1;
  }

  // What the thread knows and its warp did becomes part of `into`.
  void publish(int thread, Knowledge& into) {
    const Knowledge& mine = known_[index(thread)];
    into.resize(mine.size(), 0);
    join(mine, into);
    int& time = times_[index(thread / kWarp)];
    into[index(thread / kWarp)] = time++;
  }
  // What its warp does from now on is later than what it did, and nobody learns of either.
  void advance(int thread) { ++times_[index(thread / kWarp)]; }
  void learn(int thread, const Knowledge& what) { join(what, known_[index(thread)]); }
  // A barrier of these threads: each learns what any of them knows.
  void meet(const std::vector<int>& threads) {
    Knowledge all;
    for (const int thread : threads) publish(thread, all);
    for (const int thread : threads) known_[index(thread)] = all;
  }
  // What the threads first, first + 1, ... know together.
  [[nodiscard]] Knowledge united(int first, int count) const {
    Knowledge all = known_[index(first)];
    for (int thread = first + 1; thread < first + count; ++thread) join(known_[index(thread)], all);
    return all;
  }
  // What every one of the threads first, first + 1, ... knows.
  [[nodiscard]] Knowledge common(int first, int count) const {
    Knowledge least = known_[index(first)];
    for (int thread = first + 1; thread < first + count; ++thread) {
      const Knowledge& other = known_[index(thread)];
      for (std::size_t i = 0; i < least.size(); ++i) least[i] = std::min(least[i], other[i]);
    }
    return least;
  }

 private:
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }
  static void join(const Knowledge& from, Knowledge& into) {
    for (std::size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
  }

  std::vector<int> times_;        // [warps]
  std::vector<Knowledge> known_;  // [threads]
};

}  // namespace expertile::emulator
