// expertile show: which file, which configuration and which kind of match a call would get. Times nothing.

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/messages.hpp"
#include "plan/candidates.hpp"
#include "report/json_report.hpp"
#include "report/table.hpp"
#include "store/config_file.hpp"
#include "store/lookup.hpp"
#include "store/tune_command.hpp"

namespace expertile::cli {
namespace {

void print_shown(const ShownProblem& shown, const LookUp& found, const TuneTarget& target) {
  const Problem& problem = shown.problem;
  fmt::print("{}: E={}, N={}, K={}, {}, top_k {}\n", shown.projection, problem.experts, problem.n, problem.k,
             name(problem.dtype), problem.top_k);
  fmt::print("looked for: {}\n", found.wanted.string());
  fmt::print("file: {}\n", found.file.empty() ? "none" : found.file.string());
  const std::string command = tune_command(problem, target);
  if (!missing_line(found, command).empty()) fmt::print("to make it: {}\n", command);
  std::vector<std::string> header = {"batch", "match", "tuned batch", "configuration"};
  std::vector<std::vector<std::string>> rows;
  bool has_differences = false;
  for (std::size_t i = 0; i < shown.selections.size(); ++i) {
    const Selection& selection = shown.selections[i];
    const bool from_file = selection.match != Match::built_in;
    rows.push_back({fmt::format("{}", shown.batches[i]), std::string(name(selection.match)),
                    from_file ? fmt::format("{}", selection.batch) : "-", describe(selection.tile), selection.differs});
    has_differences = has_differences || !selection.differs.empty();
  }
  if (has_differences) header.push_back("differs");
  fmt::print("{}\n", aligned_text(header, rows));
}

}  // namespace

Result<int> run_show(const TextOptions& text) {
  const auto resolved = resolve(text);
  if (!resolved) return fail(resolved.error());
  const Settings& settings = *resolved;
  const auto device = describe_device(settings.device, settings.threads);
  if (!device) return fail(device.error());
  print_notices(settings.notices, text.quiet);
  std::vector<ShownProblem> all;
  for (const auto& [projection, problem, activation] : settings.problems) {
    const LookUp found = look_up(config_directories(settings.config_dir), *device, problem);
    print_warnings(found.warnings);
    ShownProblem shown{projection, problem, found.wanted, settings.batches, {}, activation};
    for (const std::int64_t batch : settings.batches) {
      shown.selections.push_back(choose(found, problem, batch * problem.top_k));
    }
    if (!text.json) print_shown(shown, found, {found.directory, settings.device, settings.threads});
    all.push_back(std::move(shown));
  }
  if (text.json) fmt::print("{}", selections_json(all));
  return 0;
}

}  // namespace expertile::cli
