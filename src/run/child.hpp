#pragma once
// A program of our own choosing, watched: its lines of output as they come, and its end.

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/error.hpp"

namespace expertile::run {

struct ChildEnd {
  bool was_silent = false;  // for too long, and was killed
  bool stopped = false;     // `line` said so, and it was killed
  int exit_status = 0;
  int signal = 0;      // that ended it; 0: none
  pid_t unending = 0;  // the process, which was killed and does not end: its kernel waits for a device, say

  [[nodiscard]] bool is_good() const { return !was_silent && signal == 0 && exit_status == 0 && unending == 0; }
};

// "was silent for 60 s", "was ended by signal 11", "ended with status 1"; of one that does not end also "and process 7
// cannot be ended".
[[nodiscard]] std::string describe(const ChildEnd& end, double most_silent_seconds);

// Runs arguments[0], an absolute path, until it ends or is killed; what does not end then is left behind, after a few
// seconds. Its standard error is this process's; its standard input says nothing and closes when this process ends, in
// whatever way: see end_with_parent. line: returns false to end it.
[[nodiscard]] Result<ChildEnd> run_child(const std::vector<std::string>& arguments, double most_silent_seconds,
                                         const std::function<bool(std::string_view line)>& line);

// For a program that run_child runs: from here on this process ends when the one that runs it does.
void end_with_parent();

// The status of a child that ends within so long; nothing where it does not.
[[nodiscard]] std::optional<int> wait_for_end(pid_t child, double seconds);

}  // namespace expertile::run
