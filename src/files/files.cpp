// What a reader sees is either the old file or the new one.

#include "files/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace expertile {
namespace {

namespace fs = std::filesystem;

class FileDescriptor {
 public:
  explicit FileDescriptor(int value) : value_(value) {}
  ~FileDescriptor() {
    if (value_ >= 0) ::close(value_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  [[nodiscard]] int get() const { return value_; }
  [[nodiscard]] bool is_open() const { return value_ >= 0; }
  // close(2) may report a write that failed late (network file systems), so its result counts.
  [[nodiscard]] bool close() { return ::close(std::exchange(value_, -1)) == 0; }

 private:
  int value_;
};

// Removes a temporary file unless it was renamed to its final name.
class TemporaryFile {
 public:
  explicit TemporaryFile(fs::path path) : path_(std::move(path)) {}
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  void keep() { path_.clear(); }

 private:
  fs::path path_;
};

tl::unexpected<Error> io_failure(const fs::path& path, std::string_view action, int error_number) {
  return fail(ErrorCode::io,
              fmt::format("{}: {} failed: {}", path.string(), action, std::generic_category().message(error_number)));
}

// 0, or errno.
int write_all(int descriptor, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(descriptor, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

int open_temporary(const fs::path& path, fs::path& temporary) {
  static std::atomic<unsigned> counter{0};
  while (true) {
    temporary = path.parent_path() / fmt::format(".{}.{}.{}.tmp", path.filename().string(), ::getpid(), counter++);
    const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    // EEXIST: a killed process of the same id left one behind; the next number is free.
    if (descriptor >= 0 || (errno != EEXIST && errno != EINTR)) return descriptor;
  }
}

Status sync_directory(const fs::path& directory) {
  const FileDescriptor file(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!file.is_open()) return {};  // writable but not readable: the file is in place, only its sync is not forced
  // EINVAL: a file system that cannot sync directories.
  if (::fsync(file.get()) != 0 && errno != EINVAL) return io_failure(directory, "syncing", errno);
  return {};
}

}  // namespace

Result<std::string> read_text(const fs::path& path, std::int64_t max_bytes) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.is_open()) {
    const int error_number = errno;
    if (error_number == ENOENT || error_number == ENOTDIR) {
      return fail(ErrorCode::not_found, fmt::format("{}: no such file", path.string()));
    }
    return io_failure(path, "opening", error_number);
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return io_failure(path, "reading", errno);
  if (!S_ISREG(status.st_mode)) return fail(ErrorCode::io, fmt::format("{}: not a regular file", path.string()));

  std::string text;
  std::array<char, 1 << 16> buffer{};
  while (true) {
    const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return io_failure(path, "reading", errno);
    if (count == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(count));
    if (static_cast<std::int64_t>(text.size()) > max_bytes) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}: larger than {} bytes, the most that is read", path.string(), max_bytes));
    }
  }
}

Status write_atomically(const fs::path& path, std::string_view content) {
  const fs::path directory = path.has_parent_path() ? path.parent_path() : fs::path(".");
  if (auto status = make_directories(directory); !status) return status;

  fs::path temporary;
  FileDescriptor file(open_temporary(path, temporary));
  if (!file.is_open()) return io_failure(path, "writing", errno);
  TemporaryFile cleanup(temporary);
  if (const int error_number = write_all(file.get(), content); error_number != 0) {
    return io_failure(path, "writing", error_number);
  }
  if (::fsync(file.get()) != 0) return io_failure(path, "writing", errno);
  if (!file.close()) return io_failure(path, "writing", errno);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return io_failure(path, "writing", errno);
  cleanup.keep();
  return sync_directory(directory);
}

Status make_directories(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return io_failure(directory, "making the directory", error.value());
  return {};
}

std::string environment(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? std::string() : std::string(value);
}

LockFile::~LockFile() {
  if (descriptor_ >= 0) ::close(descriptor_);  // releases the lock
}

Status LockFile::acquire(const fs::path& path) {
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  int outcome = descriptor_ < 0 ? -1 : ::flock(descriptor_, LOCK_EX);
  while (descriptor_ >= 0 && outcome != 0 && errno == EINTR) outcome = ::flock(descriptor_, LOCK_EX);
  if (outcome == 0) return {};
  return io_failure(path, "locking", errno);
}

}  // namespace expertile
