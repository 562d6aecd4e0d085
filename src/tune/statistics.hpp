#pragma once
// What repeated timings say, without a guess about how they are spread: machines have bursts, not a normal noise.

#include <cstddef>
#include <vector>

namespace expertile {

[[nodiscard]] double median_of(std::vector<double> values);  // 0 for none

// Of a over b, paired by round: what a saves, of b's time. As many as both have.
[[nodiscard]] std::vector<double> gains_of(const std::vector<double>& a, const std::vector<double>& b);

// Where the median of what values are drawn from lies: outside, on either side, once in a thousand times, whatever they
// are drawn from. Too few values (fewer than ten) give their least and largest, which say less than that.
struct MedianLimits {
  double low = 0;
  double median = 0;
  double high = 0;
  [[nodiscard]] double noise() const { return (high - low) / 2; }
};
[[nodiscard]] MedianLimits median_limits(std::vector<double> values);

// Timings of `period` different things in turns, each over the median of its own kind: what is left is what the machine
// did.
[[nodiscard]] std::vector<double> relative_times(const std::vector<double>& times, std::size_t period);

// How much such timings vary: half of what lies between the fastest and the slowest sixth, which is
// the deviation of normal noise. 0 for fewer than ten.
[[nodiscard]] double spread_of(std::vector<double> relative);

}  // namespace expertile
