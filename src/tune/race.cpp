#include "tune/race.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "tune/statistics.hpp"

namespace expertile {
namespace {

constexpr std::size_t kFewestRounds = 2;
constexpr std::size_t kMostRounds = 24;
constexpr std::size_t kTellingRounds = 3;  // one or two timings may be a tenth off
constexpr std::size_t kFinalists = 3;      // the default and two others stay to the end
constexpr double kStandardErrors = 2.0;
constexpr double kDeviationsPerMad = 1.4826;  // of a normal distribution

}  // namespace

Race::Race(std::size_t candidates, double least_gain)
    : least_gain_(least_gain), times_(candidates), running_(candidates) {
  std::iota(running_.begin(), running_.end(), std::size_t{0});
}

std::optional<Heat> Race::next(double spent) {
  if (running_.empty() || round_ >= kMostRounds) return std::nullopt;
  if (position_ == 0 && round_ >= kFewestRounds && spent >= 1) return std::nullopt;
  return Heat{running_[position_], round_};
}

void Race::notify(const Heat& heat, double microseconds) {
  times_[heat.candidate].push_back(microseconds);
  if (++position_ == running_.size()) finish_round();
}

// A third leaves after each round: where power is the limit, one timing may be a tenth off by what ran before it. After
// the first nobody does: where another program took the processors during a single timing, that says nothing. Of the
// two there are then, the shorter one counts.
void Race::let_the_slowest_leave() {
  if (round_ < kFewestRounds || running_.size() <= kFinalists) return;
  const auto time_of = [this](std::size_t candidate) {
    const std::vector<double>& times = times_[candidate];
    return round_ < kTellingRounds ? *std::min_element(times.begin(), times.end()) : median_of(times);
  };
  const auto faster = [&](std::size_t a, std::size_t b) { return time_of(a) < time_of(b); };
  std::sort(running_.begin() + 1, running_.end(), faster);  // the default stays in front
  const auto without_a_third = [](std::size_t count) { return (2 * count + 2) / 3; };
  std::size_t stay = without_a_third(running_.size());
  if (round_ == kFewestRounds) stay = without_a_third(stay);  // the first round's third, too
  running_.resize(std::max(kFinalists, stay));
}

void Race::finish_round() {
  position_ = 0;
  ++round_;
  let_the_slowest_leave();
  // Another order each round, so that nobody always runs behind the same neighbour's cache.
  std::rotate(running_.begin() + 1,
              running_.begin() + std::min<std::ptrdiff_t>(2, static_cast<std::ptrdiff_t>(running_.size())),
              running_.end());
}

double Race::median(std::size_t candidate) const { return median_of(times_[candidate]); }

bool Race::clearly_faster(std::size_t a, std::size_t b) const {
  const std::vector<double> pairs = gains_of(times_[a], times_[b]);
  if (pairs.empty()) return false;
  const double gain = median_of(pairs);
  std::vector<double> deviations;
  deviations.reserve(pairs.size());
  for (const double one : pairs) deviations.push_back(std::fabs(one - gain));
  const double error = kDeviationsPerMad * median_of(deviations) / std::sqrt(static_cast<double>(pairs.size()));
  return gain > std::max(least_gain_, kStandardErrors * error);
}

double Race::lost(std::size_t candidate, std::size_t other) const {
  return -median_of(gains_of(times_[candidate], times_[other]));
}

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
  if (neighbour_ran && fastest != *neighbour && !clearly_faster(fastest, *neighbour) && lost(*neighbour, 0) <= 0) {
    return *neighbour;
  }
  return fastest;
}

}  // namespace expertile
