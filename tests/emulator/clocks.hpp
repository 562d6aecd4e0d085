#pragma once
// The order that barriers make between the accesses of a cluster's threads, as vector clocks. Threads and warps are
// numbered through the cluster here: block after block.
//
// Agents are the warps and, for the bulk copies that they count, the mbarriers. A warp's time advances whenever one of
// its threads publishes what was done; an mbarrier's time is the number of its phases that have ended. A thread knows
// of an agent up to a time: what the agent did until then comes before what the thread does now. Of that, some was
// handed over between blocks, so that it can be seen in shared memory across them, too.

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
  int time = 0;                 // of its warp
  const int* known = nullptr;   // [agents]
  const int* handed = nullptr;  // [warps]
};

class Clocks {
 public:
  Clocks(int blocks, int threads_a_block)
      : warps_a_block_(threads_a_block / kWarp),
        times_(static_cast<std::size_t>(blocks * warps_a_block_), 1),
        known_(static_cast<std::size_t>(blocks * threads_a_block), Knowledge(times_.size(), 0)),
        handed_(known_) {}

  [[nodiscard]] Observer observer(int thread) const {
    return {thread, times_[index(thread / kWarp)], known_[index(thread)].data(), handed_[index(thread)].data()};
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
  // Before publish: what reaches other blocks with it, which is what the thread knows of its own block, what others
  // handed over to it, and what its warp did.
  void hand_over(int thread, Knowledge& into) const {
    const Knowledge& mine = known_[index(thread)];
    const int warp = thread / kWarp;
    const int first = warp / warps_a_block_ * warps_a_block_;
    into.resize(times_.size(), 0);
    join(handed_[index(thread)], into);
    for (int i = first; i < first + warps_a_block_; ++i) into[index(i)] = std::max(into[index(i)], mine[index(i)]);
    into[index(warp)] = times_[index(warp)];
  }
  void take_over(int thread, const Knowledge& what) { join(what, handed_[index(thread)]); }
  // As meet, and all of it is handed over.
  void meet_across_blocks(const std::vector<int>& threads) {
    meet(threads);
    for (const int thread : threads) {
      std::copy_n(known_[index(thread)].begin(), times_.size(), handed_[index(thread)].begin());
    }
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

  int warps_a_block_;
  std::vector<int> times_;         // [warps]
  std::vector<Knowledge> known_;   // [threads]
  std::vector<Knowledge> handed_;  // [threads], of warps alone
};

}  // namespace expertile::emulator
