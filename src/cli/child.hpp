#pragma once
// A program of our own choosing, watched: its lines of output as they come, and its end.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/error.hpp"

namespace expertile::cli {

struct ChildEnd {
  bool timed_out = false;  // it was silent for too long and was killed
  bool stopped = false;    // `line` said so, and it was killed
  int exit_status = 0;
  int signal = 0;  // that ended it; 0: none
};

// "took longer than 60 s", "was ended by signal 11", "ended with status 1"
[[nodiscard]] std::string describe(const ChildEnd& end, double most_silent_seconds);

// Runs arguments[0], an absolute path, to its end. Its standard error is this process's. line: returns false to end it.
[[nodiscard]] Result<ChildEnd> run_child(const std::vector<std::string>& arguments, double most_silent_seconds,
                                         const std::function<bool(std::string_view line)>& line);

}  // namespace expertile::cli
