#include "cli/child.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

namespace expertile::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kLongestLine = std::size_t{64} << 20;

Result<pid_t> start(const std::vector<std::string>& arguments, int output) {
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
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
    const double silent = std::chrono::duration<double>(Clock::now() - heard).count();
    if (silent >= most_silent_seconds) {
      end.timed_out = true;
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

}  // namespace

std::string describe(const ChildEnd& end, double most_silent_seconds) {
  if (end.timed_out) return fmt::format("took longer than {:.0f} s", most_silent_seconds);
  if (end.signal != 0) return fmt::format("was ended by signal {}", end.signal);
  return fmt::format("ended with status {}", end.exit_status);
}

Result<ChildEnd> run_child(const std::vector<std::string>& arguments, double most_silent_seconds,
                           const std::function<bool(std::string_view line)>& line) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail(ErrorCode::internal, fmt::format("no pipe: {}", std::strerror(errno)));
  }
  const auto pid = start(arguments, ends[1]);
  close(ends[1]);
  if (!pid) {
    close(ends[0]);
    return fail(pid.error());
  }
  ChildEnd end;
  read_lines(ends[0], most_silent_seconds, line, end);
  close(ends[0]);
  if (end.timed_out || end.stopped) kill(*pid, SIGKILL);
  int status = 0;
  while (waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  if (WIFEXITED(status)) end.exit_status = WEXITSTATUS(status);
  return end;
}

}  // namespace expertile::cli
