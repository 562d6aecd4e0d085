// expertile show: which file, which configuration and which kind of match a call would get.

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/progress.hpp"
#include "plan/candidates.hpp"
#include "report/table.hpp"
#include "run/run.hpp"

namespace expertile::cli {
namespace {

void print_shown(const ShownProjection& shown) {
  const Problem& problem = shown.problem;
  fmt::print("{}: E={}, N={}, K={}, {}, top_k {}\n", shown.projection, problem.experts, problem.n, problem.k,
             name(problem.dtype), problem.top_k);
  fmt::print("looked for: {}\n", shown.wanted.string());
  fmt::print("file: {}\n", shown.file.empty() ? "none" : shown.file.string());
  if (!shown.command.empty()) fmt::print("to make it: {}\n", shown.command);
  std::vector<std::string> header = {"batch", "match", "tuned batch", "configuration"};
  std::vector<std::vector<std::string>> rows;
  bool has_differences = false;
  for (const auto& [batch, unused_rows, selection] : shown.batches) {
    const bool from_file = selection.match != Match::built_in;
    rows.push_back({fmt::format("{}", batch), std::string(name(selection.match)),
                    from_file ? fmt::format("{}", selection.batch) : "-", describe(selection.tile), selection.differs});
    has_differences = has_differences || !selection.differs.empty();
  }
  if (has_differences) header.push_back("differs");
  fmt::print("{}\n", aligned_text(header, rows));
}

}  // namespace

Result<int> run_show(const run::TextOptions& text) {
  Progress progress(stderr_is_terminal(), text.quiet);
  const auto shown = run::show(text, events_for(progress));
  if (!shown) return fail(shown.error());
  if (text.json) {
    fmt::print("{}", shown->json);
  } else {
    for (const ShownProjection& one : shown->projections) print_shown(one);
  }
  return 0;
}

}  // namespace expertile::cli
