// expertile: reads the command line and hands it to a subcommand. Every failure is one line and an exit status.

#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <functional>
#include <new>

#include "cli/commands.hpp"

namespace expertile::cli {

namespace {

// Values stay text here: options.cpp says what is wrong with them, better than a parser's conversion error.
void add_device_options(CLI::App& app, TextOptions& text) {
  app.add_option("--device", text.device, "auto (a GPU when there is one), cpu or cuda[:I] (default auto)");
  app.add_option("--threads", text.threads, "threads to use (default: all)");
  app.add_option(
      "--output-dir", text.output_dir,
      "directory of the configuration files (default $EXPERTILE_CONFIG_DIR, else the user's data directory)");
  app.add_flag("--json", text.json, "print one JSON document on standard output, all else on standard error");
  app.add_flag("--quiet", text.quiet, "no notices and no progress");
}

void add_problem_options(CLI::App& app, TextOptions& text) {
  app.add_option("--model", text.model, "a directory, a config.json or a Hugging Face name (org/name)");
  app.add_option("--hidden-size", text.hidden_size, "hidden size, without --model (default 4096)");
  app.add_option("--dtype", text.dtype,
                 "auto, " + dtype_choices() + " (default float16, with --model auto: the model's)");
  app.add_option("--batch-size", text.batch_size, "one, or a comma list, in tokens (default 1,2,4,...,2048)");
  app.add_option("--block-shape", text.block_shape, "block quantisation N,K of the weights, e.g. 128,128");
  app.add_option("--scales", text.scales,
                 "of quantised weights: per_tensor, per_token_channel, per_channel or block (default the model's, else "
                 "the dtype's usual ones)");
  app.add_flag("--tf32", text.tf32, "float32 on a GPU: multiply in tf32, faster, with 10 bits of mantissa");
  app.add_option("--num-experts", text.num_experts, "experts of the layer (default the model's, else 8)");
  app.add_option("--top-k", text.top_k, "experts a token (default the model's, else 2)");
  app.add_option("--intermediate-size", text.intermediate_size,
                 "one expert's width (default the model's, else half the hidden size)");
  app.add_option("--expert-hidden-size", text.expert_hidden_size,
                 "what the experts read and write, where that is not the hidden size (default the model's)");
  app.add_option("--activation", text.activation,
                 "between the two products: " + activation_choices() + " (default the model's, else silu)");
  app.add_option("--gated", text.gated,
                 "yes: the first product is gate and up; no: up alone (default by the model and the activation)");
  app.add_option("--tp-size", text.tp_size, "tensor-parallel ranks, dividing the width (default 1)");
  app.add_option("--ep-size", text.ep_size, "expert-parallel ranks, dividing the experts (default 1)");
  app.add_option("--projection", text.projection, "gate_up (up without a gate), down or both (default both)");
  app.add_option("--routing", text.routing,
                 "how rows fall on experts: uniform, zipf:ALPHA or trace:FILE (default uniform)");
  app.add_option("--seed", text.seed, "of the routing (default 0)");
  add_device_options(app, text);
}

std::string one_line(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return text;
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

int run(int argc, char** argv) {
  // standard output belongs to results
  spdlog::set_default_logger(spdlog::stderr_color_mt("expertile"));
  spdlog::set_pattern("%l: %v");

  TextOptions text;
  text.arguments.assign(argv + 1, argv + argc);
  std::function<Result<int>(const TextOptions&)> command;
  CLI::App app("Tunes and runs the grouped GEMM of Mixture-of-Experts layers.", "expertile");
  app.set_version_flag("--version", "expertile " EXPERTILE_VERSION);
  app.require_subcommand(1);

  CLI::App* tune = app.add_subcommand("tune", "find the best tiles and write the configuration file");
  add_problem_options(*tune, text);
  tune->add_flag("--no-tune", text.no_tune, "only benchmark the default configuration; writes no file");
  tune->add_flag("--isolate", text.isolate,
                 "measure in a process of its own, which is replaced when a kernel hangs or breaks it (a GPU: always)");
  tune->add_option("--worker", text.worker)->group("");
  tune->add_flag("--dry-run", text.dry_run, "print the names of the files to come, then stop; needs no memory");
  tune->footer(
      "With uniform routing and 32 rows an expert or more, of tiles within 3% of the fastest one that gains more with\n"
      "zipf:1.2 than it loses is chosen.\n"
      "Examples:\n"
      "  expertile tune\n"
      "  expertile tune --model mistralai/Mistral-7B-v0.1 --batch-size 64\n"
      "  expertile tune --hidden-size 2048 --dtype bfloat16 --projection down");
  tune->callback([&] { command = run_tune; });
  CLI::App* bench = app.add_subcommand("bench", "time what the library would pick");
  add_problem_options(*bench, text);
  bench->add_flag("--eager", text.eager, "on a GPU: call by call, not as a CUDA graph");
  bench->callback([&] { command = run_bench; });
  CLI::App* show = app.add_subcommand("show", "which file, configuration and kind of match a problem gets");
  add_problem_options(*show, text);
  show->callback([&] { command = run_show; });
  CLI::App* info = app.add_subcommand("info", "devices, limits, versions");
  add_device_options(*info, text);
  info->callback([&] { command = run_info; });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    return report_parse_error(app, error, text.arguments);
  }
  const Result<int> result = command(text);
  return result ? *result : report_error(result.error());
}

}  // namespace
}  // namespace expertile::cli

int main(int argc, char** argv) {
  try {
    return expertile::cli::run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fputs("expertile: out of memory; give a smaller problem or batch size\n", stderr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "expertile: internal error: %s\n", error.what());
  }
  return 1;
}
