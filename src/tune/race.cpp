#include "tune/race.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace expertile {
namespace {

constexpr std::size_t kFewestRounds = 2;
constexpr std::size_t kMostRounds = 24;
constexpr std::size_t kTellingRounds = 3;  // one or two timings may be a tenth off
constexpr std::size_t kFinalists = 3;      // the default and two others stay to the end
constexpr double kStandardErrors = 2.0;
constexpr double kDeviationsPerMad = 1.4826;  // of a normal distribution

}  // namespace

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  const std::size_t middle = values.size() / 2;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle), values.end());
  const double upper = values[middle];
  if (values.size() % 2 == 1) return upper;
  return (upper + *std::max_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle))) / 2;
}

Race::Race(std::size_t candidates, double least_gain)
    : least_gain_(least_gain), times_(candidates), running_(candidates) {
  std::iota(running_.begin(), running_.end(), std::size_t{0});
}

std::optional<Race::Heat> Race::next(bool out_of_time) {
  if (running_.empty() || round_ >= kMostRounds) return std::nullopt;
  if (position_ == 0 && round_ >= kFewestRounds && out_of_time) return std::nullopt;
  return Heat{running_[position_], round_};
}

void Race::notify(const Heat& heat, double microseconds) {
  times_[heat.candidate].push_back(microseconds);
  if (++position_ == running_.size()) finish_round();
}

void Race::finish_round() {
  position_ = 0;
  ++round_;
  if (running_.size() > kFinalists) {
    const auto faster = [this](std::size_t a, std::size_t b) { return median(a) < median(b); };
    std::sort(running_.begin() + 1, running_.end(), faster);  // the default stays in front
    // A third leaves: where power is the limit, one timing may be a tenth off by what ran before it.
    running_.resize(std::max(kFinalists, (2 * running_.size() + 2) / 3));
  }
  // Another order each round, so that nobody always runs behind the same neighbour's cache.
  std::rotate(running_.begin() + 1,
              running_.begin() + std::min<std::ptrdiff_t>(2, static_cast<std::ptrdiff_t>(running_.size())),
              running_.end());
}

double Race::median(std::size_t candidate) const { return median_of(times_[candidate]); }

// Of a over b: of b's time, paired by round.
std::vector<double> Race::gains(std::size_t a, std::size_t b) const {
  std::vector<double> gains(std::min(times_[a].size(), times_[b].size()));
  for (std::size_t i = 0; i < gains.size(); ++i) gains[i] = 1 - times_[a][i] / times_[b][i];
  return gains;
}

bool Race::clearly_faster(std::size_t a, std::size_t b) const {
  const std::vector<double> pairs = gains(a, b);
  if (pairs.empty()) return false;
  const double gain = median_of(pairs);
  std::vector<double> deviations;
  deviations.reserve(pairs.size());
  for (const double one : pairs) deviations.push_back(std::fabs(one - gain));
  const double error = kDeviationsPerMad * median_of(deviations) / std::sqrt(static_cast<double>(pairs.size()));
  return gain > std::max(least_gain_, kStandardErrors * error);
}

double Race::lost(std::size_t candidate, std::size_t other) const { return -median_of(gains(candidate, other)); }

std::vector<std::size_t> Race::about_as_fast_as(std::size_t candidate, double loss) const {
  std::vector<std::pair<double, std::size_t>> found;  // with what each loses
  for (std::size_t other = 0; other < times_.size(); ++other) {
    if (other == candidate || times_[other].size() < kTellingRounds) continue;
    if (const double much = lost(other, candidate); much <= loss) found.emplace_back(much, other);
  }
  std::sort(found.begin(), found.end());
  std::vector<std::size_t> all{candidate};
  for (const auto& one : found) all.push_back(one.second);
  return all;
}

std::size_t Race::best(std::optional<std::size_t> neighbour) const {
  std::size_t fastest = 0;
  for (const std::size_t candidate : running_) {
    if (!times_[candidate].empty() && median(candidate) < median(fastest)) fastest = candidate;
  }
  if (!clearly_faster(fastest, 0)) fastest = 0;
  const bool neighbour_ran = neighbour && *neighbour < times_.size() && !times_[*neighbour].empty();
  if (neighbour_ran && fastest != *neighbour && !clearly_faster(fastest, *neighbour) &&
      (*neighbour == 0 || median(*neighbour) <= median(0))) {
    return *neighbour;
  }
  return fastest;
}

}  // namespace expertile
