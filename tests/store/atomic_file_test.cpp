#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <vector>

#include "files/files.hpp"
#include "store/config_file.hpp"
#include "store/temporary_directory.hpp"

namespace expertile {
namespace {

namespace fs = std::filesystem;

std::size_t entries(const fs::path& directory) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

// Runs body in a child, so that limits set there end with it; true when it says so.
bool holds_in_child(const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body() ? 0 : 1);
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// The nearest to a full disk that needs no privileges: write(2) fails after `bytes`.
void limit_file_size(rlim_t bytes) {
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{bytes, bytes};
  ::setrlimit(RLIMIT_FSIZE, &limit);
}

TEST(WriteAtomically, MakesDirectoriesAndLeavesOnlyTheFile) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "a/b/f.json";
  ASSERT_TRUE(write_atomically(path, "one"));
  ASSERT_TRUE(write_atomically(path, "two"));
  EXPECT_EQ(get_text(path), "two");
  EXPECT_EQ(entries(path.parent_path()), 1U);
}

TEST(WriteAtomically, KeepsTheOldFileWhenTheDiskIsFull) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "f.json";
  ASSERT_TRUE(write_atomically(path, "old"));
  EXPECT_TRUE(holds_in_child([&] {
    limit_file_size(1000);
    const auto status = write_atomically(path, std::string(100000, 'x'));
    return !status && status.error().code == ErrorCode::io &&
           status.error().message == path.string() + ": writing failed: File too large";
  }));
  EXPECT_EQ(get_text(path), "old");
  EXPECT_EQ(entries(directory.path()), 1U) << "the temporary file is removed";
}

TEST(MergeInto, KeepsTheOldFileWhenTheDiskIsFull) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "f.json";
  ASSERT_TRUE(merge_into(path, {{1, TileConfig{}}}, {}));
  const std::string before = get_text(path);
  EXPECT_TRUE(holds_in_child([&] {
    limit_file_size(before.size());
    return !merge_into(path, {{2, TileConfig{}}}, {});
  }));
  EXPECT_EQ(get_text(path), before);
}

TEST(WriteAtomically, NamesThePathThatCannotBeWritten) {
  const TemporaryDirectory directory;
  put_text(directory.path() / "file", "");
  const auto below_file = write_atomically(directory.path() / "file/f.json", "x");
  ASSERT_FALSE(below_file);
  EXPECT_EQ(below_file.error().message,
            (directory.path() / "file").string() + ": making the directory failed: Not a directory");
  fs::create_directories(directory.path() / "taken");
  const auto on_directory = write_atomically(directory.path() / "taken", "x");
  ASSERT_FALSE(on_directory);
  EXPECT_EQ(on_directory.error().message, (directory.path() / "taken").string() + ": writing failed: Is a directory");
  EXPECT_EQ(entries(directory.path()), 2U);
}

TEST(WriteAtomically, SaysWhenADirectoryMayNotBeWrittenOrRead) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read and write every directory";
  const TemporaryDirectory directory;
  const auto closed = directory.path() / "closed";
  put_text(closed / "f.json", "{}");
  ::chmod(closed.c_str(), 0);
  const auto written = write_atomically(closed / "f.json", "x");
  const auto read = read_config(closed / "f.json");
  ::chmod(closed.c_str(), 0700);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().message, (closed / "f.json").string() + ": writing failed: Permission denied");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::io);
  EXPECT_EQ(read.error().message, (closed / "f.json").string() + ": opening failed: Permission denied");
}

TEST(ReadText, RefusesWhatIsLargeOrNotAFile) {
  const TemporaryDirectory directory;
  put_text(directory.path() / "f", "12345");
  EXPECT_EQ(read_text(directory.path() / "f", 5).value(), "12345");
  EXPECT_EQ(read_text(directory.path() / "f", 4).error().message,
            (directory.path() / "f").string() + ": larger than 4 bytes, the most that is read");
  EXPECT_EQ(read_text(directory.path(), 4).error().message, directory.path().string() + ": not a regular file");
  ASSERT_EQ(::mkfifo((directory.path() / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(read_text(directory.path() / "pipe", 4).error().message,
            (directory.path() / "pipe").string() + ": not a regular file");
}

TEST(MergeInto, LosesNothingBetweenProcesses) {
  constexpr int kProcesses = 6;
  constexpr int kMerges = 15;
  const TemporaryDirectory directory;
  const auto path = directory.path() / "f.json";
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = ::fork();
    if (child == 0) {
      bool good = true;
      for (int i = 0; i < kMerges; ++i) {
        const std::int64_t batch = 1 + process * kMerges + i;
        good = merge_into(path, {{batch, TileConfig{.block_size_m = static_cast<int>(batch)}}}, {}) && good;
      }
      ::_exit(good ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  const auto read = read_config(path);
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->file.tiles.size(), static_cast<std::size_t>(kProcesses * kMerges));
  for (const auto& [batch, tile] : read->file.tiles) EXPECT_EQ(tile.block_size_m, batch);
  EXPECT_EQ(entries(directory.path()), 2U) << "the file and its lock";
}

}  // namespace
}  // namespace expertile
