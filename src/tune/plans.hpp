#pragma once
// The candidates of each batch size of a tuning, and their kernels: compiled ahead, while earlier batch sizes are
// verified and timed.

#include <array>
#include <atomic>
#include <cstddef>
#include <future>
#include <vector>

#include "backend/backend.hpp"
#include "plan/candidates.hpp"
#include "tune/batch.hpp"

namespace expertile {

// Compiles from its making to its end; backend and problem outlive it. One thread waits and reads.
class Plans {
 public:
  // batches: in the order in which their plans will be wanted.
  Plans(const Backend& backend, const Problem& problem, const std::vector<Batch>& batches);
  ~Plans();
  Plans(const Plans&) = delete;
  Plans& operator=(const Plans&) = delete;

  // Until a batch size's candidates, and its default, are compiled (or cannot be: to prepare them tells). Once each.
  void wait(std::size_t index) { plans_[index].is_compiled.get_future().get(); }
  [[nodiscard]] const CandidateSet& candidates(std::size_t index) const { return plans_[index].set; }

 private:
  struct Plan {
    CandidateSet set;
    std::vector<TileConfig> new_tiles;  // with the default, without those of earlier batch sizes
    std::promise<void> is_compiled;
  };
  void compile();

  const Backend& backend_;
  const Problem& problem_;
  std::vector<Plan> plans_;  // [batch]
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> is_over_{false};
  // Two at a time, since each plan ends with a slow kernel that keeps few processors busy. Last: they have ended before
  // anything that they use goes.
  std::array<std::future<void>, 2> tasks_;
};

}  // namespace expertile
