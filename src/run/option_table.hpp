#pragma once
// Every option of every subcommand, once: the command line is made of these rows, and so are the names that programs
// give.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "expertile/tune.hpp"
#include "run/options.hpp"

namespace expertile::run {

enum class Command { tune, bench, show, info };
[[nodiscard]] std::string_view name(Command command) noexcept;

struct OptionRow {
  using Text = std::optional<std::string> TextOptions::*;
  using Flag = bool TextOptions::*;

  std::string_view name;  // "hidden-size": --hidden-size of a command line
  std::variant<Text, Flag> member;
  std::string help;
  std::span<const Command> commands;  // that take it

  [[nodiscard]] bool belongs_to(Command command) const;
};
// In the order of the command line's help.
[[nodiscard]] std::vector<OptionRow> option_table();

// name: with '-' or '_' between its words. value: of a flag true, yes, 1 or "", or false, no or 0; any other text is
// taken as it is, and checked by resolve. One line where the name is not known, belongs to other subcommands, or was
// given before.
[[nodiscard]] Status set_option(TextOptions& text, Command command, std::string_view name, std::string_view value);
[[nodiscard]] Result<TextOptions> parse_options(Command command, std::span<const TuneOption> options);

// What the command line would have been: "--hidden-size=2048", "--tf32".
[[nodiscard]] std::vector<std::string> arguments_of(const TextOptions& text, Command command);

}  // namespace expertile::run
