#include "tune/statistics.hpp"

#include <algorithm>
#include <cmath>

namespace expertile {
namespace {

constexpr double kOutside = 1e-3;  // of the chances, on either side

// Of n sorted values, the place of the last one from the front that lies above the median of what they are drawn from
// with a chance of kOutside at most: that is when at most `place` of n tosses of a coin are heads.
std::size_t place_of_limit(std::size_t n) {
  double chance = std::exp2(-static_cast<double>(n));  // of no head
  double sum = chance;
  std::size_t place = 0;
  while (place < n / 2) {
    chance *= static_cast<double>(n - place) / static_cast<double>(place + 1);
    if (sum + chance > kOutside) break;
    sum += chance;
    ++place;
  }
  return place;
}

}  // namespace

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  const std::size_t middle = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle), values.end());
  const double upper = values[middle];
  if (values.size() % 2 == 1) return upper;
  return (upper + *std::max_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle))) / 2;
}

std::vector<double> gains_of(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> gains(std::min(a.size(), b.size()));
  for (std::size_t i = 0; i < gains.size(); ++i) gains[i] = 1 - a[i] / b[i];
  return gains;
}

MedianLimits median_limits(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const std::size_t place = place_of_limit(values.size());
  return {values[place], median_of(values), values[values.size() - 1 - place]};
}

std::vector<double> relative_times(const std::vector<double>& times, std::size_t period) {
  std::vector<double> relative(times);
  for (std::size_t first = 0; first < std::min(period, times.size()); ++first) {
    std::vector<double> alike;
    for (std::size_t i = first; i < times.size(); i += period) alike.push_back(times[i]);
    const double median = median_of(alike);
    for (std::size_t i = first; i < times.size(); i += period) relative[i] = times[i] / median;
  }
  return relative;
}

double spread_of(std::vector<double> relative) {
  constexpr std::size_t kFewest = 10;
  if (relative.size() < kFewest) return 0;
  std::sort(relative.begin(), relative.end());
  const std::size_t sixth = relative.size() / 6;
  return (relative[relative.size() - 1 - sixth] - relative[sixth]) / 2;
}

}  // namespace expertile
