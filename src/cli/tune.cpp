// expertile tune: the run's lines and results as they come, and Ctrl-C.

#include <fmt/format.h>

#include <atomic>
#include <csignal>
#include <cstdio>

#include "cli/commands.hpp"
#include "cli/progress.hpp"
#include "report/table.hpp"
#include "run/child.hpp"
#include "run/run.hpp"
#include "run/worker.hpp"

namespace expertile::cli {
namespace {

constexpr int kStoppedByUser = 130;  // what shells expect after Ctrl-C

// A signal handler can reach nothing but static storage.
std::atomic<bool>& stop_flag() {
  static std::atomic<bool> stop{false};
  return stop;
}
bool is_stop_requested() { return stop_flag().load(); }

// The first Ctrl-C asks for an end after the work in hand; SA_RESETHAND lets the second one end the process.
void catch_interrupts() {
  stop_flag();
  struct sigaction action {};
  action.sa_handler = [](int) { stop_flag().store(true); };
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

Result<int> work_for_another(const run::TextOptions& text) {
  run::end_with_parent();
  return run::run_worker(text, is_stop_requested, [](std::string_view line) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
  });
}

void announce(const std::vector<ProjectionReport>& reports, bool json) {
  for (const ProjectionReport& report : reports) {
    if (!report.file.empty()) fmt::print(json ? stderr : stdout, "{}: {}\n", report.projection, report.file.string());
  }
  std::fflush(stdout);
}

}  // namespace

Result<int> run_tune(const run::TextOptions& text) {
  catch_interrupts();
  if (text.worker) return work_for_another(text);
  Progress progress(stderr_is_terminal(), text.quiet);
  run::Events events = events_for(progress);
  events.planned = [&](const std::vector<ProjectionReport>& reports) { announce(reports, text.json); };
  events.stop_requested = is_stop_requested;
  const auto tuned = run::tune(text, events, {"/proc/self/exe"});
  progress.end();
  if (!tuned) return fail(tuned.error());
  if (text.json) {
    fmt::print("{}", tuned->json);
  } else if (!text.dry_run) {
    fmt::print("\n{}", results_table(tuned->reports));
  }
  if (!tuned->stopped) return 0;
  fmt::print(stderr, "stopped: {} of {} batch sizes are done and kept\n", tuned->batches_done(), tuned->batches_wanted);
  return kStoppedByUser;
}

}  // namespace expertile::cli
