#pragma once
// A number that a computation in float32 may have: what exact arithmetic gives, and between what it must lie.

#include <algorithm>
#include <cmath>
#include <limits>

namespace expertile {

// lo <= value <= hi. All three NaN: it is NaN. lo and hi infinite and apart: it may be anything, NaN too, for
// instance because a sum may or may not have overflowed.
struct Interval {
  double value = 0;
  double lo = 0;
  double hi = 0;
};

[[nodiscard]] inline Interval exactly(double value) { return {value, value, value}; }

[[nodiscard]] inline Interval anything(double value) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return {value, -kInfinity, kInfinity};
}
[[nodiscard]] inline bool is_anything(const Interval& x) { return std::isinf(x.lo) && std::isinf(x.hi) && x.lo < x.hi; }

// A NaN that not all three agree on leaves everything open.
[[nodiscard]] inline Interval interval_of(double value, double lo, double hi) {
  const int nans = int{std::isnan(value)} + int{std::isnan(lo)} + int{std::isnan(hi)};
  return nans == 0 || nans == 3 ? Interval{value, lo, hi} : anything(value);
}

// Of a function that never falls, for instance any rounding.
template <class Function>
[[nodiscard]] Interval map_rising(const Interval& x, const Function& function) {
  if (is_anything(x)) return anything(function(x.value));
  return interval_of(function(x.value), function(x.lo), function(x.hi));
}

// Of a function that falls until `bottom` and rises from there.
template <class Function>
[[nodiscard]] Interval map_valley(const Interval& x, double bottom, const Function& function) {
  if (is_anything(x)) return anything(function(x.value));
  const double a = function(x.lo);
  const double b = function(x.hi);
  if (std::isnan(a) || std::isnan(b)) return interval_of(function(x.value), a, b);
  const double least = x.lo < bottom && bottom < x.hi ? function(bottom) : std::min(a, b);
  return interval_of(function(x.value), least, std::max(a, b));
}

[[nodiscard]] inline Interval operator+(const Interval& a, const Interval& b) {
  return interval_of(a.value + b.value, a.lo + b.lo, a.hi + b.hi);
}

[[nodiscard]] inline Interval operator*(const Interval& a, const Interval& b) {
  const double ends[] = {a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi};
  for (const double end : ends) {
    if (std::isnan(end)) return interval_of(a.value * b.value, end, end);
  }
  return interval_of(a.value * b.value, *std::min_element(ends, ends + 4), *std::max_element(ends, ends + 4));
}

[[nodiscard]] inline double largest_magnitude(const Interval& x) { return std::max(std::fabs(x.lo), std::fabs(x.hi)); }

// A slack that is not finite comes of terms that are infinite or NaN, and so is the sum of them, whatever its error.
[[nodiscard]] inline Interval widened(const Interval& x, double slack) {
  if (!std::isfinite(slack)) return x;
  return {x.value, x.lo - slack, x.hi + slack};
}

}  // namespace expertile
