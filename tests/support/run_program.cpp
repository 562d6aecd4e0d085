#include "support/run_program.hpp"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace expertile::test {
namespace {

namespace fs = std::filesystem;

// Output goes to files: no pipe can fill up, whatever the program writes.
pid_t spawn(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
            const std::string& out, const std::string& err) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid != 0) return pid;
  for (const std::string& variable : environment) putenv(const_cast<char*>(variable.c_str()));
  const int in = open("/dev/null", O_RDONLY);
  const int to_out = open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int to_err = open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  dup2(in, 0);
  dup2(to_out, 1);
  dup2(to_err, 2);
  execv(argv[0], argv.data());
  _exit(127);
}

}  // namespace

Outcome run_program(const std::vector<std::string>& arguments, const std::vector<std::string>& environment) {
  const TemporaryDirectory directory;
  const std::string out = directory.path() / "out";
  const std::string err = directory.path() / "err";
  const pid_t pid = spawn(arguments, environment, out, err);
  int status = 0;
  waitpid(pid, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_all(out), read_all(err)};
}

int start_program(const std::vector<std::string>& arguments) { return spawn(arguments, {}, "/dev/null", "/dev/null"); }

void kill_program(int pid) {
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> result;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) result.push_back(line);
  return result;
}

TemporaryDirectory::TemporaryDirectory() {
  std::string name = fs::temp_directory_path() / "expertile-test-XXXXXX";
  path_ = mkdtemp(name.data());
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::vector<fs::path> files_below(const fs::path& directory) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(directory, error)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  return files;
}

std::string read_all(const fs::path& path) {
  std::ostringstream text;  // which takes no exception from a file of /proc whose process has just ended
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

}  // namespace expertile::test
