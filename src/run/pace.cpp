#include "run/pace.hpp"

#include <algorithm>

namespace expertile::run {
namespace {

constexpr double kMostOfABatch = 0.99;  // that is claimed before it is done

}  // namespace

void Pace::end_batch(double now) {
  ++done_;
  batch_start_ = now;
}

double Pace::seconds_each() const { return done_ > 0 ? (batch_start_ - start_) / done_ : seconds_per_batch_; }

double Pace::seconds_left(double now) const {
  return std::max(0.0, seconds_each() * (batches_ - done_) - (now - batch_start_));
}

double Pace::share_done(double now) const {
  if (done_ >= batches_) return 1;
  const double each = seconds_each();
  const double part = each > 0 ? std::clamp((now - batch_start_) / each, 0.0, kMostOfABatch) : 0;
  return (done_ + part) / batches_;
}

}  // namespace expertile::run
