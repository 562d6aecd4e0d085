#pragma once
// Which candidate to time next, and which one won. A pure state machine: no clock, no device.
//
// Candidates run in rounds: in a round each of those still in the race is timed once, on the same routing sample, so
// that drift of the machine and luck of the sample fall on all alike. After each round but the first the slowest
// third leaves (never the default). What remains is compared by paired differences.

#include <cstddef>
#include <optional>
#include <vector>

#include "tune/contest.hpp"

namespace expertile {

class Race final : public Contest {
 public:
  // Candidate 0 is the default, which never leaves. least_gain: what is not worth a different tile, of the time.
  explicit Race(std::size_t candidates, double least_gain = kLeastGain);

  // When its time is spent it ends at the next end of a round (after two rounds at least).
  [[nodiscard]] std::optional<Heat> next(double spent) override;
  void notify(const Heat& heat, double microseconds) override;

  // The fastest by median that beats the default by more than the noise, else the default. Inside the noise of the
  // fastest, `neighbour` (the adjacent batch size's winner) is kept where it is no slower than the default.
  [[nodiscard]] std::size_t best(std::optional<std::size_t> neighbour) const;
  // `candidate` and, the fastest first, all that take at most `loss` of its time longer, as far as a few rounds tell.
  [[nodiscard]] std::vector<std::size_t> about_as_fast_as(std::size_t candidate, double loss) const;
  // Of `other`'s time, that `candidate` takes longer (below zero: less), by the rounds that both ran; 0 for none.
  [[nodiscard]] double lost(std::size_t candidate, std::size_t other) const;
  [[nodiscard]] const std::vector<double>& times(std::size_t candidate) const { return times_[candidate]; }
  [[nodiscard]] double median(std::size_t candidate) const;  // 0 when never timed
  [[nodiscard]] std::size_t rounds() const override { return round_; }

 private:
  void finish_round();
  void let_the_slowest_leave();
  [[nodiscard]] bool clearly_faster(std::size_t a, std::size_t b) const;

  double least_gain_;
  std::vector<std::vector<double>> times_;  // [candidate][round]
  std::vector<std::size_t> running_;        // in the order in which a round visits them
  std::size_t position_ = 0;
  std::size_t round_ = 0;
};

}  // namespace expertile
