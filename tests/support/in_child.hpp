#pragma once
// Work in a child of fork(), with an end to it: a child that hangs is what these tests look for.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <thread>

namespace expertile::testing {

// Whether the child of the calling thread came to an end by itself, and `work` was true there.
inline ::testing::AssertionResult in_child(const std::function<bool()>& work) {
  constexpr auto kLongest = std::chrono::seconds(20);
  const pid_t child = ::fork();
  if (child < 0) return ::testing::AssertionFailure() << "fork failed";
  if (child == 0) ::_exit(work() ? 0 : 1);
  const auto end = std::chrono::steady_clock::now() + kLongest;
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > end) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      return ::testing::AssertionFailure() << "the child hung";
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "the child ended with wait status " << status;
}

}  // namespace expertile::testing
