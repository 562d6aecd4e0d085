#include "plan/gpu/rows.hpp"

#include <algorithm>
#include <cmath>

namespace expertile::gpu {
namespace {

constexpr double kFar = 6.5;                    // deviations from the mean: chances are 1 or 0 there, to 1e-10
constexpr double kSeldom = 3.0902323061678135;  // deviations above the mean: more rows have a chance of 1e-3
constexpr double kInverseRootOf2Pi = 0.3989422804014327;

// A normal deviate is greater than z.
double upper_tail(double z) { return 0.5 * std::erfc(z * std::sqrt(0.5)); }

// The sum of upper_tail(z) over z = from, from + step, .., to by Euler and Maclaurin: to 1e-10 for steps up to 0.2.
double sum_of_tails(double from, double to, double step) {
  const auto density = [](double z) { return kInverseRootOf2Pi * std::exp(-0.5 * z * z); };
  // What one end adds: the integral, and corrections by the first, third and fifth derivatives.
  const auto end = [&](double z) {
    const double slope = -density(z);
    const double z2 = z * z;
    return (z * upper_tail(z) - density(z)) / step + step / 12 * slope - std::pow(step, 3) / 720 * slope * (z2 - 1) +
           std::pow(step, 5) / 30240 * slope * (z2 * z2 - 6 * z2 + 3);
  };
  return end(to) - end(from) + 0.5 * (upper_tail(from) + upper_tail(to));
}

}  // namespace

// By the normal distribution: of all groups' rows one falls into this one with a chance of 1 / groups.
double RowsOfAGroup::deviation() const { return std::sqrt(mean * (1.0 - 1.0 / std::max(groups, 1.0))); }

double RowsOfAGroup::chance_of_more(double than) const {
  if (deviation() <= 0) return mean > than ? 1 : 0;
  return upper_tail((than + 0.5 - mean) / deviation());
}

ChanceSum sum_of_chances(const RowsOfAGroup& rows, double first, double step, double count) {
  const double spread = rows.deviation();
  const double middle = spread > 0 ? rows.mean - 0.5 : rows.mean;
  const auto below = [&](double limit) { return std::clamp(std::ceil((limit - first) / step), 0.0, count); };
  const double sure = below(middle - kFar * spread);
  const double possible = below(middle + kFar * spread);
  if (possible - sure > kMostTerms) {
    const auto deviate = [&](double place) { return (first + place * step - middle) / spread; };
    return {sure + sum_of_tails(deviate(sure), deviate(possible - 1), step / spread), 0};
  }
  ChanceSum sum{sure, 0};
  for (double place = sure; place < possible; ++place, ++sum.terms) {
    sum.value += rows.chance_of_more(first + place * step);
  }
  return sum;
}

// The sum over j of the chance that there are more than j parts' rows, to where that is seldom.
double expected_parts(const RowsOfAGroup& rows, int part) {
  const double last = std::floor((rows.mean - 0.5 + kSeldom * rows.deviation()) / part);
  return 1 + sum_of_chances(rows, part, part, std::max(0.0, last)).value;
}

RowsOfAGroup rows_of_a_group(std::int64_t rows, double active_groups) {
  const double groups = std::max(active_groups, 1.0);
  return {std::max(1.0, static_cast<double>(rows) / groups), groups};
}

}  // namespace expertile::gpu
