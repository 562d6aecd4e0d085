#include "run/option_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <numeric>

#include "problem/presets.hpp"

namespace expertile::run {
namespace {

using Rows = std::vector<OptionRow>;
using T = TextOptions;

constexpr std::array kAll = {Command::tune, Command::bench, Command::show, Command::info};
constexpr std::span<const Command> kOfProblems = std::span(kAll).first(3);
constexpr std::span<const Command> kOfTune = std::span(kAll).first(1);
constexpr std::span<const Command> kOfBench = std::span(kAll).subspan(1, 1);

Rows model_rows() {
  return {
      {"model", &T::model, "a directory, a config.json or a Hugging Face name (org/name)", kOfProblems},
      {"hidden-size", &T::hidden_size, "hidden size, without --model (default 4096)", kOfProblems},
      {"dtype", &T::dtype, "auto, " + dtype_choices() + " (default float16, with --model auto: the model's)",
       kOfProblems},
      {"batch-size", &T::batch_size, "one, or a comma list, in tokens (default 1,2,4,...,2048)", kOfProblems},
      {"block-shape", &T::block_shape, "block quantisation N,K of the weights, e.g. 128,128", kOfProblems},
      {"scales", &T::scales,
       "of quantised weights: per_tensor, per_token_channel, per_channel or block (default the model's, else the "
       "dtype's usual ones)",
       kOfProblems},
      {"tf32", &T::tf32, "float32 on a GPU: multiply in tf32, faster, with 10 bits of mantissa", kOfProblems},
      {"num-experts", &T::num_experts, "experts of the layer (default the model's, else 8)", kOfProblems},
      {"top-k", &T::top_k, "experts a token (default the model's, else 2)", kOfProblems},
      {"intermediate-size", &T::intermediate_size,
       "one expert's width (default the model's, else half the hidden size)", kOfProblems},
      {"expert-hidden-size", &T::expert_hidden_size,
       "what the experts read and write, where that is not the hidden size (default the model's)", kOfProblems},
      {"activation", &T::activation,
       "between the two products: " + activation_choices() + " (default the model's, else silu)", kOfProblems},
      {"gated", &T::gated,
       "yes: the first product is gate and up; no: up alone (default by the model and the activation)", kOfProblems},
  };
}

Rows run_rows() {
  return {
      {"tp-size", &T::tp_size, "tensor-parallel ranks, dividing the width (default 1)", kOfProblems},
      {"ep-size", &T::ep_size, "expert-parallel ranks, dividing the experts (default 1)", kOfProblems},
      {"projection", &T::projection, "gate_up (up without a gate), down or both (default both)", kOfProblems},
      {"routing", &T::routing, "how rows fall on experts: uniform, zipf:ALPHA or trace:FILE (default uniform)",
       kOfProblems},
      {"seed", &T::seed, "of the routing (default 0)", kOfProblems},
      {"device", &T::device, "auto (a GPU when there is one), cpu or cuda[:I] (default auto)", kAll},
      {"threads", &T::threads, "threads to use (default: all)", kAll},
      {"output-dir", &T::output_dir,
       "directory of the configuration files (default $EXPERTILE_CONFIG_DIR, else the user's data directory)", kAll},
      {"json", &T::json, "print one JSON document on standard output, all else on standard error", kAll},
      {"quiet", &T::quiet, "no notices and no progress", kAll},
      {"no-tune", &T::no_tune, "only benchmark the default configuration; writes no file", kOfTune},
      {"isolate", &T::isolate,
       "measure in a process of its own, which is replaced when a kernel hangs or breaks it (a GPU: always)", kOfTune},
      {"dry-run", &T::dry_run, "print the names of the files to come, then stop; needs no memory", kOfTune},
      {"eager", &T::eager, "on a GPU: call by call, not as a CUDA graph", kOfBench},
  };
}

std::string with_dashes(std::string_view given) {
  std::string text(given);
  std::replace(text.begin(), text.end(), '_', '-');
  return text;
}

// How many letters have to be put in, left out or changed.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, changed});
    }
  }
  return row.back();
}

// The one that was meant: a few letters are wrong, or it alone contains what was given. "" where that is nobody's
// guess.
std::string_view nearest(std::string_view given, std::span<const std::string_view> names) {
  constexpr std::size_t kLongest = 40;  // a longer text is no name
  if (given.empty() || given.size() > kLongest) return {};
  std::size_t least = std::max<std::size_t>(1, given.size() / 3) + 1;
  std::string_view found;
  std::vector<std::string_view> containing;
  for (const std::string_view one : names) {
    if (one.find(given) != std::string_view::npos) containing.push_back(one);
    const std::size_t apart = distance(given, one);
    if (apart >= least) continue;
    least = apart;
    found = one;
  }
  if (found.empty() && containing.size() == 1) return containing[0];
  return found;
}

Status refuse_name(const Rows& rows, Command command, std::string_view given) {
  std::vector<std::string_view> names;
  for (const OptionRow& row : rows) {
    if (row.belongs_to(command)) names.push_back(row.name);
  }
  const std::string_view meant = nearest(with_dashes(given), names);
  return fail(ErrorCode::invalid_argument,
              meant.empty() ? fmt::format("option '{}' is not known; choose {}", given, join(names, "or"))
                            : fmt::format("option '{}' is not known; did you mean {}?", given, meant));
}

Status refuse_command(const OptionRow& row, Command command) {
  std::vector<std::string_view> others;
  for (const Command other : row.commands) others.push_back(name(other));
  return fail(ErrorCode::invalid_argument, fmt::format("option '{}' is not one of {}; it is one of {}", row.name,
                                                       name(command), join(others, "and")));
}

Result<bool> parse_flag(std::string_view option, std::string_view value) {
  for (const std::string_view one : {"true", "yes", "1", ""}) {
    if (value == one) return true;
  }
  for (const std::string_view one : {"false", "no", "0"}) {
    if (value == one) return false;
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("--{} '{}' is not known; choose true, yes, 1, false, no or 0", option, value));
}

}  // namespace

std::string_view name(Command command) noexcept {
  switch (command) {
    case Command::tune:
      return "tune";
    case Command::bench:
      return "bench";
    case Command::show:
      return "show";
    case Command::info:
      return "info";
  }
  return "";
}

bool OptionRow::belongs_to(Command command) const {
  return std::find(commands.begin(), commands.end(), command) != commands.end();
}

std::vector<OptionRow> option_table() {
  Rows rows = model_rows();
  const Rows others = run_rows();
  rows.insert(rows.end(), others.begin(), others.end());
  return rows;
}

Status set_option(TextOptions& text, Command command, std::string_view given, std::string_view value) {
  const Rows rows = option_table();
  const auto row = std::ranges::find(rows, with_dashes(given), &OptionRow::name);
  if (row == rows.end()) return refuse_name(rows, command, given);
  if (!row->belongs_to(command)) return refuse_command(*row, command);
  if (const auto* flag = std::get_if<OptionRow::Flag>(&row->member)) {
    const auto is_set = parse_flag(row->name, value);
    if (!is_set) return fail(is_set.error());
    text.*(*flag) = *is_set;
    return {};
  }
  std::optional<std::string>& member = text.*std::get<OptionRow::Text>(row->member);
  if (member) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--{} is given twice: '{}' and '{}'; give one", row->name, *member, value));
  }
  member = value;
  return {};
}

Result<TextOptions> parse_options(Command command, std::span<const TuneOption> options) {
  TextOptions text;
  for (const TuneOption& option : options) {
    if (auto status = set_option(text, command, option.name, option.value); !status) return fail(status.error());
  }
  return text;
}

std::vector<std::string> arguments_of(const TextOptions& text, Command command) {
  std::vector<std::string> arguments;
  for (const OptionRow& row : option_table()) {
    if (!row.belongs_to(command)) continue;
    if (const auto* flag = std::get_if<OptionRow::Flag>(&row.member)) {
      if (text.*(*flag)) arguments.push_back(fmt::format("--{}", row.name));
    } else if (const auto& value = text.*std::get<OptionRow::Text>(row.member)) {
      arguments.push_back(fmt::format("--{}={}", row.name, *value));
    }
  }
  return arguments;
}

}  // namespace expertile::run
