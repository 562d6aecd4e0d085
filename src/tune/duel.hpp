#pragma once
// The default against one challenger, by paired timings that had no part in choosing the challenger: of many tiles that
// are alike, luck makes one look fast. A pure state machine: no clock, no device.

#include <algorithm>
#include <array>
#include <vector>

#include "tune/contest.hpp"
#include "tune/statistics.hpp"

namespace expertile {

struct Verdict {
  double default_us = 0;  // medians, over the same rounds
  double challenger_us = 0;
  MedianLimits gain;  // of the default's time, paired by round

  // Faster than the default by more than `least` and more than the noise. noise: at least so much, of the time.
  [[nodiscard]] bool is_clearly_faster(double noise, double least = kLeastGain) const;
  [[nodiscard]] bool is_no_slower() const { return gain.median >= 0 && challenger_us <= default_us; }
};

// Candidate 0 is the default, 1 the challenger; they take turns in beginning a round.
class Duel final : public Contest {
 public:
  // least: the gain that matters.
  explicit Duel(double least = kLeastGain) : least_(least) {}

  // Ends when the answer is clear, when no gain worth more time is left, or when its time is spent: several times that
  // where the noise is large.
  [[nodiscard]] std::optional<Heat> next(double spent) override;
  void notify(const Heat& heat, double microseconds) override;
  [[nodiscard]] std::size_t rounds() const override { return std::min(times_[0].size(), times_[1].size()); }

  [[nodiscard]] Verdict verdict() const;
  [[nodiscard]] const std::vector<double>& times(std::size_t candidate) const { return times_[candidate]; }

 private:
  [[nodiscard]] bool has_ended(double spent) const;

  double least_;
  std::array<std::vector<double>, 2> times_;  // [round]
};

}  // namespace expertile
