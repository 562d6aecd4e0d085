#pragma once
// Whole files in, whole files out, and a lock between processes. The lowest room: it knows nothing of the others.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "expertile/error.hpp"

namespace expertile {

// Whole file, refused above max_bytes. not_found when there is no such file; never waits for a FIFO's writer.
[[nodiscard]] Result<std::string> read_text(const std::filesystem::path& path, std::int64_t max_bytes);

// Temporary file in the same directory, fsync, rename; makes the directories.
[[nodiscard]] Status write_atomically(const std::filesystem::path& path, std::string_view content);

// Makes `directory` and those above it.
[[nodiscard]] Status make_directories(const std::filesystem::path& directory);

// The variable's value; empty where it is not set.
[[nodiscard]] std::string environment(const char* variable);

// Held from acquire to destruction, by one process (or thread) at a time.
class LockFile {
 public:
  LockFile() = default;
  ~LockFile();
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

  // Waits for the lock. The file stays: removing it would let a third process lock another file of the same name.
  [[nodiscard]] Status acquire(const std::filesystem::path& path);

 private:
  int descriptor_ = -1;
};

}  // namespace expertile
