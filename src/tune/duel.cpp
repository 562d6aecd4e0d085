#include "tune/duel.hpp"

#include <algorithm>
#include <bit>

namespace expertile {
namespace {

constexpr std::size_t kFewestRounds = 10;  // from which limits mean what they say
constexpr std::size_t kMostRounds = 160;
constexpr double kMuchNoise = 0.01;        // of the time: worth more rounds
constexpr double kLongestForNoise = 5;     // times the time that was set
constexpr double kWorthMoreRounds = 0.01;  // of the time, that may still be gained

}  // namespace

bool Verdict::is_clearly_faster(double noise, double least) const {
  return gain.low > least && gain.median > noise && challenger_us < default_us;
}

bool Duel::has_ended(double spent) const {
  const std::size_t complete = rounds();
  if (complete < kFewestRounds) return false;
  if (complete >= kMostRounds) return true;
  const MedianLimits gain = verdict().gain;
  if (spent >= (gain.noise() > kMuchNoise ? kLongestForNoise : 1)) return true;
  // Who looks after every round for a clear answer finds one by luck in the end: it is looked for after 10, 20, 40, ...
  if (complete % kFewestRounds != 0 || !std::has_single_bit(complete / kFewestRounds)) return false;
  return gain.low > least_ || gain.high < std::max(least_, kWorthMoreRounds);
}

std::optional<Heat> Duel::next(double spent) {
  const std::size_t round = rounds();
  const bool begins = times_[0].size() == times_[1].size();
  if (begins && has_ended(spent)) return std::nullopt;
  const std::size_t first = round % 2;
  if (begins) return Heat{first, round};
  return Heat{1 - first, round};
}

void Duel::notify(const Heat& heat, double microseconds) { times_[heat.candidate].push_back(microseconds); }

Verdict Duel::verdict() const {
  return {median_of(times_[0]), median_of(times_[1]), median_limits(gains_of(times_[1], times_[0]))};
}

}  // namespace expertile
