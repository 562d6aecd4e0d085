#pragma once
// What the user asked for -> the problems to work on. Knows every option's default and every refusal.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "expertile/error.hpp"
#include "expertile/problem.hpp"
#include "problem/model/activation.hpp"
#include "problem/routing.hpp"

namespace expertile::run {

// As given: empty optionals were not given.
struct TextOptions {
  std::optional<std::string> model{}, hidden_size{}, dtype{}, batch_size{}, block_shape{};
  std::optional<std::string> num_experts{}, top_k{}, intermediate_size{}, tp_size{}, ep_size{}, projection{};
  std::optional<std::string> expert_hidden_size{}, activation{}, gated{}, scales{};
  std::optional<std::string> routing{}, seed{}, device{}, threads{}, output_dir{};
  std::optional<std::string> worker{};  // the job of a measuring process, see run/worker.hpp
  bool isolate = false;
  bool eager = false;
  bool tf32 = false;
  bool no_tune = false;
  bool json = false;
  bool quiet = false;
  bool dry_run = false;
};

struct NamedProblem {
  std::string projection;  // "gate_up" ("up" where the experts have no gate) or "down"
  Problem problem;
  ModelActivation activation;  // between the two
};

struct Settings {
  std::vector<NamedProblem> problems;
  std::vector<std::int64_t> batches;  // ascending, each once
  Routing routing;
  std::string device = "auto";
  int threads = 0;
  std::filesystem::path config_dir;
  std::vector<std::string> notices;  // one line each

  [[nodiscard]] int all_batches() const { return static_cast<int>(batches.size() * problems.size()); }
};

// An error is one line that names the option, the value and what would be right.
[[nodiscard]] Result<Settings> resolve(const TextOptions& text);

// "auto" or "cpu" and threads alone, for `info`.
[[nodiscard]] Result<int> parse_threads(const TextOptions& text);
[[nodiscard]] Result<std::filesystem::path> parse_config_dir(const TextOptions& text);

// What every subcommand that works on problems starts with.
struct Session {
  Settings settings;
  std::shared_ptr<const Backend> backend;
};
// The tensors of every problem and batch size must fit the device's memory, but under --dry-run.
[[nodiscard]] Result<Session> open_session(const TextOptions& text);

}  // namespace expertile::run
