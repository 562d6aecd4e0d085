#include "run/child.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>
#include <utility>

namespace expertile::run {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kLongestLine = std::size_t{64} << 20;
constexpr double kSecondsToDie = 10;  // of a process that was killed: a driver may have much to put in order

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Both ends are closed in the programs that this process starts.
class Pipe {
 public:
  static Result<Pipe> make() {
    Pipe pipe;
    if (pipe2(pipe.ends_.data(), O_CLOEXEC) == 0) return pipe;
    return fail(ErrorCode::internal, fmt::format("no pipe: {}", std::strerror(errno)));
  }
  Pipe(Pipe&& other) noexcept : ends_(std::exchange(other.ends_, {-1, -1})) {}
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  Pipe& operator=(Pipe&&) = delete;
  ~Pipe() {
    for (const int end : ends_) {
      if (end >= 0) close(end);
    }
  }
  [[nodiscard]] int read_end() const { return ends_[0]; }
  [[nodiscard]] int write_end() const { return ends_[1]; }
  void close_read_end() { close(std::exchange(ends_[0], -1)); }
  void close_write_end() { close(std::exchange(ends_[1], -1)); }

 private:
  Pipe() = default;
  std::array<int, 2> ends_{-1, -1};
};

Result<pid_t> start(const std::vector<std::string>& arguments, int input, int output) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return fail(ErrorCode::internal, fmt::format("'{}' cannot be started: {}", arguments[0], std::strerror(error)));
  }
  return pid;
}

// Takes whole lines off the front of `text`; false when `line` wants no more.
bool take_lines(std::string& text, const std::function<bool(std::string_view)>& line) {
  std::size_t begin = 0;
  bool more = true;
  for (std::size_t end = 0; more && (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    more = line(std::string_view(text).substr(begin, end - begin));
  }
  text.erase(0, begin);
  return more;
}

// Until the child closes its output, is silent for too long, or is not wanted any more.
void read_lines(int input, double most_silent_seconds, const std::function<bool(std::string_view)>& line,
                ChildEnd& end) {
  std::string text;
  std::array<char, 65536> buffer{};
  auto heard = Clock::now();
  for (;;) {
    const double silent = seconds_since(heard);
    if (silent >= most_silent_seconds) {
      end.was_silent = true;
      return;
    }
    pollfd wait{input, POLLIN, 0};
    const int ready = poll(&wait, 1, static_cast<int>((most_silent_seconds - silent) * 1e3) + 1);
    if (ready < 0 && errno != EINTR) return;
    if (ready <= 0) continue;
    const ssize_t count = read(input, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    heard = Clock::now();
    text.append(buffer.data(), static_cast<std::size_t>(count));
    if (!take_lines(text, line) || text.size() > kLongestLine) {
      end.stopped = true;
      return;
    }
  }
}

// A child that has closed its output has as long as a silent one to end by itself.
void end_child(pid_t pid, double most_silent_seconds, ChildEnd& end) {
  std::optional<int> status;
  if (!end.was_silent && !end.stopped) {
    status = wait_for_end(pid, most_silent_seconds);
    end.was_silent = !status;
  }
  if (!status) {
    kill(pid, SIGKILL);
    status = wait_for_end(pid, kSecondsToDie);
  }
  if (!status) {
    end.unending = pid;
    return;
  }
  if (WIFSIGNALED(*status)) end.signal = WTERMSIG(*status);
  if (WIFEXITED(*status)) end.exit_status = WEXITSTATUS(*status);
}

}  // namespace

std::string describe(const ChildEnd& end, double most_silent_seconds) {
  const std::string unending =
      end.unending != 0 ? fmt::format(", and process {} cannot be ended", end.unending) : std::string();
  if (end.was_silent) return fmt::format("was silent for {} s{}", most_silent_seconds, unending);
  if (end.unending != 0) return fmt::format("was stopped{}", unending);
  if (end.signal != 0) return fmt::format("was ended by signal {}", end.signal);
  return fmt::format("ended with status {}", end.exit_status);
}

std::optional<int> wait_for_end(pid_t child, double seconds) {
  constexpr useconds_t kShortest = 100;
  constexpr useconds_t kLongest = 20000;
  const auto start = Clock::now();
  for (useconds_t pause = kShortest;; pause = std::min(2 * pause, kLongest)) {
    int status = 0;
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) return status;
    if (ended < 0 && errno != EINTR) return 0;  // nobody's child: there is nothing to wait for
    if (seconds_since(start) >= seconds) return std::nullopt;
    usleep(pause);
  }
}

Result<ChildEnd> run_child(const std::vector<std::string>& arguments, double most_silent_seconds,
                           const std::function<bool(std::string_view line)>& line) {
  auto output = Pipe::make();
  if (!output) return fail(output.error());
  auto life = Pipe::make();  // nothing is written to it: that its other end closes tells the child
  if (!life) return fail(life.error());
  const auto pid = start(arguments, life->read_end(), output->write_end());
  output->close_write_end();
  life->close_read_end();
  if (!pid) return fail(pid.error());
  ChildEnd end;
  read_lines(output->read_end(), most_silent_seconds, line, end);
  output->close_read_end();
  end_child(*pid, most_silent_seconds, end);
  return end;
}

void end_with_parent() {
  std::thread([] {
    char byte = 0;
    for (;;) {
      const ssize_t count = read(STDIN_FILENO, &byte, 1);
      if (count > 0 || (count < 0 && errno == EINTR)) continue;
      _exit(1);  // at once: what another thread waits for may never come
    }
  }).detach();
}

}  // namespace expertile::run
