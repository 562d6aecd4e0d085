#include "cli/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>

#include "report/table.hpp"

namespace expertile::cli {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// A line longer than the terminal would wrap and could not be overwritten.
std::size_t terminal_width() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 20) return 80;
  return size.ws_col;
}

}  // namespace

std::string duration_text(double seconds) {
  const auto whole = std::llround(std::max(0.0, seconds));
  return whole < 60 ? fmt::format("{} s", whole) : fmt::format("{} min {} s", whole / 60, whole % 60);
}

bool stderr_is_terminal() { return isatty(STDERR_FILENO) == 1; }

void Progress::say(std::string_view line) {
  if (quiet_) return;
  clear_line();
  fmt::print(stderr, "{}\n", line);
}

void Progress::warn(std::string_view line) {
  clear_line();
  fmt::print(stderr, "warning: {}\n", line);
}

void Progress::update(const TuneProgress& now) {
  if (quiet_ || !terminal_ || seconds_since(shown_) < 0.1) return;
  shown_ = Clock::now();
  const std::string best = now.best_us > 0 ? fmt::format("best {:.1f} us", now.best_us) : std::string("no time yet");
  const std::string line =
      fmt::format("[{}/{}] {} batch {}: {}, {}, about {} left", now.done + 1, now.all, now.projection, now.batch,
                  tile_text(now.tile), best, duration_text(now.seconds_left));
  clear_line();
  fmt::print(stderr, "{}", line.substr(0, terminal_width() - 1));
  std::fflush(stderr);
  is_shown_ = true;
}

void Progress::decided(const TuneProgress& now, const BatchResult& result) {
  say(fmt::format("[{}/{}] {} batch {}: {:.1f} us, default {:.1f} us ({:.2f}x), about {} left", now.done, now.all,
                  now.projection, result.batch, result.tuned_us, result.default_us, result.ratio,
                  duration_text(now.seconds_left)));
}

void Progress::clear_line() {
  if (is_shown_) fmt::print(stderr, "\r\x1b[K");
  is_shown_ = false;
}

run::Events events_for(Progress& progress) {
  return {.notice = [&](std::string_view line) { progress.say(fmt::format("notice: {}", line)); },
          .warning = [&](std::string_view line) { progress.warn(line); },
          .step = [&](std::string_view line) { progress.say(line); },
          .planned = {},
          .progress = [&](const TuneProgress& now) { progress.update(now); },
          .decided = [&](const TuneProgress& now, const ResultRow& row) { progress.decided(now, row.result); },
          .stop_requested = {}};
}

}  // namespace expertile::cli
