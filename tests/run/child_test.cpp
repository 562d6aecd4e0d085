// A program that is watched: its lines, its end, and what becomes of it when its watcher is killed.

#include "run/child.hpp"

#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <random>

#include "support/run_program.hpp"

namespace expertile::run {
namespace {

using test::TemporaryDirectory;
using Clock = std::chrono::steady_clock;

ChildEnd run_shell(const std::string& script, double seconds, std::vector<std::string>& lines) {
  const auto end = run_child({"/bin/sh", "-c", script}, seconds, [&](std::string_view line) {
    lines.emplace_back(line);
    return line != "enough";
  });
  EXPECT_TRUE(end) << end.error().message;
  return end.value_or(ChildEnd{});
}

TEST(RunChild, HandsOnLinesAndTheExitStatus) {
  std::vector<std::string> lines;
  const ChildEnd end = run_shell("echo one; printf 'two\\nthr'; printf 'ee\\n'; exit 3", 10, lines);
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two", "three"}));
  EXPECT_EQ(end.exit_status, 3);
  EXPECT_EQ(describe(end, 10), "ended with status 3");
}

TEST(RunChild, KillsWhatIsSilentForTooLong) {
  std::vector<std::string> lines;
  const ChildEnd end = run_shell("echo one; exec sleep 100", 0.3, lines);
  EXPECT_TRUE(end.was_silent);
  EXPECT_EQ(lines.size(), 1U);
  EXPECT_EQ(describe(end, 60), "was silent for 60 s");
}

TEST(RunChild, KillsWhatClosesItsOutputAndGoesOn) {
  std::vector<std::string> lines;
  const auto start = Clock::now();
  const ChildEnd end = run_shell("exec >&-; exec sleep 100", 0.3, lines);
  EXPECT_TRUE(end.was_silent);
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(20));
}

TEST(RunChild, SeesTheSignalAndStopsWhenTold) {
  std::vector<std::string> lines;
  EXPECT_EQ(describe(run_shell("kill -SEGV $$", 10, lines), 10), "was ended by signal 11");
  EXPECT_TRUE(run_shell("echo enough; exec sleep 100", 10, lines).stopped);
}

TEST(RunChild, AProgramThatIsNotThereIsAnError) {
  EXPECT_FALSE(run_child({"/nonexistent/program"}, 1, [](std::string_view) { return true; }));
}

TEST(RunChild, SaysOfAProcessThatDoesNotEndWhichOneItIs) {
  ChildEnd end;
  end.was_silent = true;
  end.unending = 7;
  EXPECT_FALSE(end.is_good());
  EXPECT_EQ(describe(end, 60), "was silent for 60 s, and process 7 cannot be ended");
  end.was_silent = false;
  end.stopped = true;
  EXPECT_EQ(describe(end, 60), "was stopped, and process 7 cannot be ended");
}

TEST(WaitForEnd, WaitsNoLongerThanItIsTold) {
  const int pid = test::start_program({"/bin/sh", "-c", "exec sleep 100"});
  const auto start = Clock::now();
  EXPECT_FALSE(wait_for_end(pid, 0.2));
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(10));
  kill(pid, SIGKILL);
  const auto status = wait_for_end(pid, 10);
  ASSERT_TRUE(status);
  EXPECT_EQ(WTERMSIG(*status), SIGKILL);
}

// Processes with this text among their arguments.
std::vector<pid_t> processes_with(const std::string& text) {
  std::vector<pid_t> found;
  DIR* all = opendir("/proc");
  if (all == nullptr) return found;
  while (const dirent* entry = readdir(all)) {
    const pid_t pid = std::atoi(entry->d_name);
    if (pid <= 0) continue;
    const std::string arguments = test::read_all(std::filesystem::path("/proc") / entry->d_name / "cmdline");
    if (arguments.find(text) != std::string::npos) found.push_back(pid);
  }
  closedir(all);
  return found;
}

// Until so many processes are there, or two seconds have passed.
std::size_t wait_for_processes(const std::string& text, std::size_t wanted) {
  const auto start = Clock::now();
  for (;;) {
    const std::size_t count = processes_with(text).size();
    if (count == wanted || Clock::now() - start > std::chrono::seconds(2)) return count;
    usleep(2000);
  }
}

TEST(Isolation, ATuningThatIsKilledLeavesNoProcess) {
  const TemporaryDirectory directory;
  const std::string mark = directory.path();
  std::mt19937 generator(1);
  std::uniform_int_distribution<useconds_t> moment(0, 60000);
  int measuring = 0;
  for (int i = 0; i < 30; ++i) {
    const int pid = test::start_program({EXPERTILE_CLI, "tune", "--isolate", "--device", "cpu", "--hidden-size", "64",
                                         "--projection", "down", "--output-dir", mark});
    measuring += wait_for_processes(mark, 2) == 2 ? 1 : 0;
    usleep(moment(generator));
    test::kill_program(pid);
    EXPECT_EQ(wait_for_processes(mark, 0), 0U) << "after kill " << i;
    for (const pid_t left : processes_with(mark)) kill(left, SIGKILL);
  }
  EXPECT_GE(measuring, 25);  // there was something to be left behind
}

}  // namespace
}  // namespace expertile::run
