#pragma once
// Runs a program the way a user does and keeps what it said.

#include <filesystem>
#include <string>
#include <vector>

namespace expertile::test {

struct Outcome {
  int status = -1;  // exit status; 128 + signal when it was killed
  std::string out;
  std::string err;
};

// arguments[0] is the program. environment: "NAME=value", put over this process's own.
Outcome run_program(const std::vector<std::string>& arguments, const std::vector<std::string>& environment = {});

// Starts a program with its output thrown away; the caller waits for it.
int start_program(const std::vector<std::string>& arguments);
void kill_program(int pid);  // SIGKILL, and waits

std::vector<std::string> lines(const std::string& text);

// A new directory, removed with everything in it at the end of the scope.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Every regular file below a directory.
std::vector<std::filesystem::path> files_below(const std::filesystem::path& directory);
std::string read_all(const std::filesystem::path& path);

}  // namespace expertile::test
