#include "run/tool.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <system_error>

namespace expertile::run {
namespace {

namespace fs = std::filesystem;

bool is_program(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && access(path.c_str(), X_OK) == 0;
}

// Of the shared library or the program that this code was linked into.
fs::path own_file() {
  std::error_code error;
  fs::path program = fs::read_symlink("/proc/self/exe", error);
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&tool_near), &info) == 0 || info.dli_fname == nullptr) return program;
  const fs::path named(info.dli_fname);  // of a program what it was called by, which may be no path
  const fs::path whole = named.has_parent_path() ? fs::canonical(named, error) : fs::path();
  return error || whole.empty() ? program : whole;
}

}  // namespace

std::optional<fs::path> tool_near(const fs::path& directory) {
  // Beside the library; in bin/ below it; and in the bin/ or the build directory above it.
  for (const char* place : {"", "bin", "..", "../bin", "../../bin"}) {
    const fs::path path = (directory / place / "expertile").lexically_normal();
    if (is_program(path)) return path;
  }
  return std::nullopt;
}

Result<std::vector<std::string>> find_tool(const std::vector<std::string>& given) {
  if (!given.empty()) {
    if (fs::path(given[0]).is_absolute() && is_program(given[0])) return given;
    return fail(ErrorCode::not_found, fmt::format("worker program '{}' is not there; give the absolute path of the "
                                                  "expertile tool",
                                                  given[0]));
  }
  const fs::path own = own_file();
  if (const auto found = tool_near(own.parent_path())) return std::vector<std::string>{found->string()};
  return fail(
      ErrorCode::not_found,
      fmt::format("measuring in a process of its own takes the expertile tool, which is not near '{}'; give its "
                  "absolute path as the worker program",
                  own.string()));
}

}  // namespace expertile::run
