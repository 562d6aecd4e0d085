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

Progress::Progress(bool terminal, bool quiet, int batches, double seconds_per_batch)
    : terminal_(terminal), quiet_(quiet), batches_(batches), seconds_per_batch_(seconds_per_batch) {}

void Progress::begin(const std::string& projection, const Problem& problem) {
  projection_ = projection;
  batch_start_ = Clock::now();
  say(fmt::format("{}: E={}, N={}, K={}, {}, top_k {}", projection, problem.experts, problem.n, problem.k,
                  name(problem.dtype), problem.top_k));
}

void Progress::say(const std::string& line) {
  if (quiet_) return;
  clear_line();
  fmt::print(stderr, "{}\n", line);
}

void Progress::update(std::int64_t batch, const TileConfig& tile, double best_us) {
  if (quiet_ || !terminal_ || seconds_since(shown_) < 0.1) return;
  shown_ = Clock::now();
  const std::string best = best_us > 0 ? fmt::format("best {:.1f} us", best_us) : std::string("no time yet");
  const std::string line = fmt::format("[{}/{}] {} batch {}: {}, {}, about {} left", done_ + 1, batches_, projection_,
                                       batch, tile_text(tile), best, duration_text(seconds_left()));
  clear_line();
  fmt::print(stderr, "{}", line.substr(0, terminal_width() - 1));
  std::fflush(stderr);
}

void Progress::decided(const BatchResult& result) {
  ++done_;
  batch_start_ = Clock::now();
  say(fmt::format("[{}/{}] {} batch {}: {:.1f} us, default {:.1f} us ({:.2f}x), about {} left", done_, batches_,
                  projection_, result.batch, result.tuned_us, result.default_us, result.ratio,
                  duration_text(seconds_left())));
}

void Progress::end() { clear_line(); }

double Progress::seconds_left() const {
  const double done_seconds = std::chrono::duration<double>(batch_start_ - start_).count();
  const double each = done_ > 0 ? done_seconds / done_ : seconds_per_batch_;
  return std::max(0.0, each * (batches_ - done_) - seconds_since(batch_start_));
}

void Progress::clear_line() const {
  if (terminal_ && !quiet_) fmt::print(stderr, "\r\x1b[K");
}

}  // namespace expertile::cli
