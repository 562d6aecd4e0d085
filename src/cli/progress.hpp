#pragma once
// What the user sees on standard error while a long run works: one line that is overwritten on a terminal, plain lines
// otherwise, nothing with --quiet.

#include <chrono>
#include <cstdint>
#include <string>

#include "expertile/problem.hpp"
#include "tune/result.hpp"

namespace expertile::cli {

// "45 s", "3 min 20 s"
[[nodiscard]] std::string duration_text(double seconds);

class Progress {
 public:
  // batches: how many batch sizes the whole run has; seconds_per_batch: the guess until one is done.
  Progress(bool terminal, bool quiet, int batches, double seconds_per_batch);

  void begin(const std::string& projection, const Problem& problem);
  void say(const std::string& line);  // a plain line above the progress line
  void update(std::int64_t batch, const TileConfig& tile, double best_us);
  void decided(const BatchResult& result);
  void end();

 private:
  using Clock = std::chrono::steady_clock;
  [[nodiscard]] double seconds_left() const;
  void clear_line() const;

  bool terminal_;
  bool quiet_;
  int batches_;
  int done_ = 0;
  double seconds_per_batch_;
  std::string projection_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point batch_start_ = Clock::now();
  Clock::time_point shown_{};
};

[[nodiscard]] bool stderr_is_terminal();

}  // namespace expertile::cli
