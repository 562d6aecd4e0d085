// Where configuration files are and what they are called.

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "files/files.hpp"
#include "problem/presets.hpp"
#include "store/config_file.hpp"

namespace expertile {

namespace fs = std::filesystem;

std::string config_file_name(const Problem& problem) {
  const std::string block =
      problem.block_shape ? fmt::format("_block{}x{}", problem.block_shape->n, problem.block_shape->k) : std::string();
  return fmt::format("grouped_gemm_config_{}_{}{}.json", hidden_size_of(problem),
                     problem.tf32 ? "tf32" : name(problem.dtype), block);
}

fs::path kernel_directory(const fs::path& config_file) { return config_file.parent_path() / "kernels"; }

fs::path config_directory(const fs::path& given) {
  if (!given.empty()) return given;
  if (const std::string chosen = environment("EXPERTILE_CONFIG_DIR"); !chosen.empty()) return chosen;
  // The XDG specification asks that a relative path be ignored.
  if (const fs::path data = environment("XDG_DATA_HOME"); data.is_absolute()) return data / "expertile/configs";
  if (const std::string home = environment("HOME"); !home.empty())
    return fs::path(home) / ".local/share/expertile/configs";
  return "configs";  // a process without a home: beside its other files
}

std::vector<fs::path> config_directories(const fs::path& given) {
  std::vector<fs::path> directories{config_directory(given)};
  std::string bases = environment("XDG_DATA_DIRS");
  if (bases.empty()) bases = "/usr/local/share:/usr/share";  // the specification's default
  std::istringstream in(bases + ":" + EXPERTILE_INSTALLED_DATA);
  for (std::string base; std::getline(in, base, ':');) {
    if (!fs::path(base).is_absolute()) continue;
    const fs::path directory = fs::path(base) / "expertile/configs";
    if (std::find(directories.begin(), directories.end(), directory) == directories.end()) {
      directories.push_back(directory);
    }
  }
  return directories;
}

fs::path config_path(const fs::path& config_dir, std::string_view device, const Problem& problem) {
  std::string folder = fmt::format("E={},N={},K={}", problem.experts, problem.n, problem.k);
  if (!has_usual_scales(problem)) folder += fmt::format(",scales={}", name(scales_of(problem)));
  return config_dir / device / folder / config_file_name(problem);
}

}  // namespace expertile
