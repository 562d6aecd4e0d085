#pragma once
// How far a run is and how long it still takes, judged by the batch sizes that are done. No clock: `now` is in seconds
// since any one moment.

namespace expertile::run {

class Pace {
 public:
  // batches: how many the whole run has, at least one; seconds_per_batch: the guess until one is done.
  Pace(int batches, double seconds_per_batch, double now)
      : batches_(batches), seconds_per_batch_(seconds_per_batch), start_(now), batch_start_(now) {}

  void begin_batch(double now) { batch_start_ = now; }
  void end_batch(double now);

  [[nodiscard]] int done() const { return done_; }
  [[nodiscard]] int batches() const { return batches_; }
  [[nodiscard]] double seconds_left(double now) const;
  // From 0 to 1, which it is when all are done; it never falls while `now` does not.
  [[nodiscard]] double share_done(double now) const;

 private:
  [[nodiscard]] double seconds_each() const;

  int batches_;
  int done_ = 0;
  double seconds_per_batch_;
  double start_;
  double batch_start_;
};

}  // namespace expertile::run
