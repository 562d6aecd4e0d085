#pragma once
// What the user sees on standard error while a long run works: one line that is overwritten on a terminal, plain lines
// otherwise, nothing with --quiet.

#include <chrono>
#include <string>
#include <string_view>

#include "expertile/tune.hpp"
#include "run/events.hpp"

namespace expertile::cli {

// "45 s", "3 min 20 s"
[[nodiscard]] std::string duration_text(double seconds);

class Progress {
 public:
  Progress(bool terminal, bool quiet) : terminal_(terminal), quiet_(quiet) {}

  void say(std::string_view line);  // a plain line above the progress line
  void warn(std::string_view line);
  void update(const TuneProgress& now);
  void decided(const TuneProgress& now, const BatchResult& result);
  void end() { clear_line(); }

 private:
  using Clock = std::chrono::steady_clock;
  void clear_line();

  bool terminal_;
  bool quiet_;
  bool is_shown_ = false;
  Clock::time_point shown_{};
};

[[nodiscard]] bool stderr_is_terminal();

// A run's notices, warnings and progress go to standard error. progress: outlives what is returned.
[[nodiscard]] run::Events events_for(Progress& progress);

}  // namespace expertile::cli
