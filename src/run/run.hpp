#pragma once
// What the subcommands do, without a terminal. The command line and expertile/tune.hpp both call these.

#include <string>
#include <vector>

#include "run/events.hpp"
#include "run/options.hpp"

namespace expertile::run {

struct RunResult {
  std::vector<ProjectionReport> reports;
  int batches_wanted = 0;  // of all projections
  bool stopped = false;
  std::string warning;  // see unsteady_warning
  std::string json;

  [[nodiscard]] int batches_done() const;
};

// tool: a program and its arguments that behaves as the command line does, for measuring in a process of its own;
// empty: find_tool's.
[[nodiscard]] Result<RunResult> tune(const TextOptions& text, const Events& events,
                                     const std::vector<std::string>& tool);
[[nodiscard]] Result<RunResult> bench(const TextOptions& text, const Events& events);
[[nodiscard]] Result<Shown> show(const TextOptions& text, const Events& events);

// Line ends in what users gave are spaces in what they are told.
[[nodiscard]] std::string one_line(std::string text);
inline constexpr const char* kOutOfMemory = "out of memory; give a smaller problem or batch size";

// What tune and bench end with: the warning, told and kept, and the document.
[[nodiscard]] RunResult finished(std::vector<ProjectionReport> reports, const Settings& settings, bool stopped,
                                 const Events& events);

}  // namespace expertile::run
