#include "store/tune_command.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>
#include <system_error>

#include "files/files.hpp"
#include "problem/presets.hpp"
#include "store/config_file.hpp"

namespace expertile {
namespace {

namespace fs = std::filesystem;

// In single quotes for a shell, where it needs any.
std::string shell_quoted(const std::string& text) {
  constexpr std::string_view kPlain = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/._-,=:";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string quoted = "'";
  for (const char character : text) quoted += character == '\'' ? std::string("'\\''") : std::string(1, character);
  return quoted + "'";
}

struct LayerShape {
  std::string_view projection;
  std::int64_t intermediate = 0;
  bool has_own_hidden = false;  // its experts have a hidden size of their own, which is K
};

// The product with N and K of a model with this hidden size. Experts with a hidden size of their own have any K, those
// without a gate any N.
LayerShape layer_shape(const Problem& problem) {
  const std::int64_t hidden = hidden_size_of(problem);
  const bool is_first = problem.k == hidden && problem.n % 2 == 0;
  if (problem.n == hidden && !is_first) return {"down", problem.k};
  const bool has_own_hidden = problem.k != hidden;
  if (problem.n % 2 == 0) return {"gate_up", problem.n / 2, has_own_hidden};
  return {"up", problem.n, has_own_hidden};
}

// Empty where the command writes there by itself, in any shell: the variable may be set in this process alone.
std::string directory_option(const fs::path& config_dir) {
  if (config_dir.empty()) return {};
  if (environment("EXPERTILE_CONFIG_DIR").empty() && config_dir == config_directory("")) return {};
  std::error_code error;
  const fs::path whole = fs::absolute(config_dir, error);
  return " --output-dir " + shell_quoted((error ? config_dir : whole).string());
}

}  // namespace

std::string tune_command(const Problem& problem, const TuneTarget& target) {
  if (problem.top_k > problem.experts) {
    return fmt::format("(no command makes this file: top_k {} is larger than the number of experts {})", problem.top_k,
                       problem.experts);
  }
  const LayerShape shape = layer_shape(problem);
  std::string command = fmt::format("expertile tune --hidden-size {}", hidden_size_of(problem));
  if (shape.has_own_hidden) command += fmt::format(" --expert-hidden-size {}", problem.k);
  command += fmt::format(" --num-experts {}", problem.experts);
  if (shape.projection == "up") command += " --gated no";
  command += fmt::format(" --intermediate-size {} --top-k {} --dtype {}", shape.intermediate, problem.top_k,
                         name(problem.dtype));
  if (problem.block_shape) {
    command += fmt::format(" --block-shape {},{}", problem.block_shape->n, problem.block_shape->k);
  }
  if (!has_usual_scales(problem)) command += fmt::format(" --scales {}", name(scales_of(problem)));
  if (problem.tf32) command += " --tf32";
  command += fmt::format(" --projection {}", shape.projection);
  if (target.device != "auto") command += " --device " + shell_quoted(target.device);
  if (target.threads != 0) command += fmt::format(" --threads {}", target.threads);
  return command + directory_option(target.config_dir);
}

}  // namespace expertile
