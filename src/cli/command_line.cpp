// expertile: reads the command line and hands it to a subcommand. Every failure is one line and an exit status.

#include "cli/command_line.hpp"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <functional>
#include <new>
#include <string>
#include <variant>
#include <vector>

#include "cli/commands.hpp"
#include "run/option_table.hpp"
#include "run/run.hpp"

namespace expertile::cli {

namespace {

using run::Command;
using run::one_line;
using run::OptionRow;
using run::TextOptions;

// Values stay text here: run/options.cpp says what is wrong with them, better than a parser's conversion error.
void add_options(CLI::App& app, Command command, TextOptions& text) {
  for (const OptionRow& row : run::option_table()) {
    if (!row.belongs_to(command)) continue;
    const std::string option = fmt::format("--{}", row.name);
    if (const auto* flag = std::get_if<OptionRow::Flag>(&row.member)) {
      app.add_flag(option, text.*(*flag), row.help);
    } else {
      app.add_option(option, text.*std::get<OptionRow::Text>(row.member), row.help);
    }
  }
}

// "1 8 32" where the arguments that are left over are numbers that follow --batch-size and its value; else empty.
std::string separate_batches(const std::vector<std::string>& arguments, const std::vector<std::string>& left) {
  const auto is_number = [](const std::string& text) {
    return text.find_first_not_of("0123456789,") == std::string::npos &&
           text.find_first_not_of(',') != std::string::npos;
  };
  const auto given = std::find(arguments.begin(), arguments.end(), "--batch-size");
  if (given == arguments.end()) return {};
  const auto end = std::find_if_not(given + 1, arguments.end(), is_number);
  if (end - given < 3 || !std::equal(given + 2, end, left.begin(), left.end())) return {};
  std::string text = given[1];
  for (const std::string& one : left) text += ' ' + one;
  return text;
}

// Every run of spaces and commas is one comma.
std::string with_commas(const std::string& text) {
  std::string list;
  for (const char c : text) {
    const bool is_digit = c != ' ' && c != ',';
    if (is_digit) list += c;
    if (!is_digit && !list.empty() && list.back() != ',') list += ',';
  }
  if (!list.empty() && list.back() == ',') list.pop_back();
  return list;
}

int report_parse_error(const CLI::App& app, const CLI::ParseError& error, const std::vector<std::string>& arguments) {
  const std::vector<std::string> left = app.remaining(true);
  if (const std::string batches = separate_batches(arguments, left); !batches.empty()) {
    fmt::print(stderr, "expertile: --batch-size '{}' is several arguments; a list takes commas: {}\n", batches,
               with_commas(batches));
  } else if (!left.empty()) {
    const char* what = left[0].starts_with("-") ? "option" : "argument";
    fmt::print(stderr,
               "expertile: {} '{}' is not known; 'expertile --help' lists the subcommands, 'expertile tune "
               "--help' the options\n",
               what, one_line(left[0]));
  } else {
    fmt::print(stderr, "expertile: {}; see 'expertile --help'\n", one_line(error.what()));
  }
  return 2;
}

int report_error(const Error& error) {
  fmt::print(stderr, "expertile: {}\n", one_line(error.message));
  return exit_status(error);
}

int dispatch(int argc, char** argv) {
  // standard output belongs to results
  spdlog::set_default_logger(spdlog::stderr_color_mt("expertile"));
  spdlog::set_pattern("%l: %v");

  TextOptions text;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  std::function<Result<int>(const TextOptions&)> command;
  CLI::App app("Tunes and runs the grouped GEMM of Mixture-of-Experts layers.", "expertile");
  app.set_version_flag("--version", "expertile " EXPERTILE_VERSION);
  app.require_subcommand(1);

  CLI::App* tune = app.add_subcommand("tune", "find the best tiles and write the configuration file");
  add_options(*tune, Command::tune, text);
  tune->add_option("--worker", text.worker)->group("");
  tune->footer(
      "With uniform routing and 32 rows an expert or more, of tiles within 3% of the fastest one that gains more with\n"
      "zipf:1.2 than it loses is chosen.\n"
      "Examples:\n"
      "  expertile tune\n"
      "  expertile tune --model mistralai/Mistral-7B-v0.1 --batch-size 64\n"
      "  expertile tune --hidden-size 2048 --dtype bfloat16 --projection down");
  tune->callback([&] { command = run_tune; });
  CLI::App* bench = app.add_subcommand("bench", "time what the library would pick");
  add_options(*bench, Command::bench, text);
  bench->callback([&] { command = run_bench; });
  CLI::App* show = app.add_subcommand("show", "which file, configuration and kind of match a problem gets");
  add_options(*show, Command::show, text);
  show->callback([&] { command = run_show; });
  CLI::App* info = app.add_subcommand("info", "devices, limits, versions");
  add_options(*info, Command::info, text);
  info->callback([&] { command = run_info; });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    return report_parse_error(app, error, arguments);
  }
  const Result<int> result = command(text);
  return result ? *result : report_error(result.error());
}

}  // namespace

int command_line(int argc, char** argv) {
  try {
    return dispatch(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "expertile: %s\n", run::kOutOfMemory);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "expertile: internal error: %s\n", error.what());
  }
  return 1;
}

}  // namespace expertile::cli
