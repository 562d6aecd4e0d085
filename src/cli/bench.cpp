// expertile bench: times what a call would run with, on the tuner's problems and routings.

#include <fmt/format.h>

#include <cmath>

#include "cli/commands.hpp"
#include "cli/messages.hpp"
#include "cli/progress.hpp"
#include "report/json_report.hpp"
#include "report/table.hpp"
#include "store/config_file.hpp"
#include "store/lookup.hpp"
#include "tune/tuner.hpp"

namespace expertile::cli {
namespace {

Status bench_one(const Backend& backend, const Settings& settings, const NamedProblem& one, const Ceiling& ceiling,
                 Calls calls, Progress& progress, ProjectionReport& report) {
  const DeviceInfo& device = backend.info();
  const LookUp found = look_up(config_directories(settings.config_dir), device, one.problem);
  print_warnings(found.warnings);
  report.file = found.file;
  progress.begin(one.projection, one.problem);
  progress.say(found.file.empty() ? fmt::format("no file; looked for {}", found.wanted.string())
                                  : fmt::format("file: {}", found.file.string()));
  TuneOptions options;
  options.calls = calls;
  options.progress = [&](std::int64_t batch, const TileConfig& tile, double best_us) {
    progress.update(batch, tile, best_us);
  };
  options.decided = [&](const BatchResult& result) -> Status {
    const Selection selection = choose(found, one.problem, std::llround(result.rows));
    report.results.push_back({result, selection.match, selection.differs});
    progress.decided(result);
    return {};
  };
  const auto in_use = [&](std::int64_t rows) { return choose(found, one.problem, rows).tile; };
  const auto results = time_given({backend, one.problem, settings.routing, settings.batches, ceiling}, options, in_use);
  if (!results) return fail(results.error());
  return {};
}

}  // namespace

Result<int> run_bench(const TextOptions& text) {
  const auto session = open_session(text);
  if (!session) return fail(session.error());
  const Settings& settings = session->settings;
  const Backend& backend = *session->backend;
  print_notices(settings.notices, text.quiet);

  const int batches = static_cast<int>(settings.batches.size() * settings.problems.size());
  Progress progress(stderr_is_terminal(), text.quiet, batches, TuneOptions{}.seconds_per_batch);
  progress.say("measuring the machine's own limits");
  const auto ceiling = measure_ceiling(backend, settings.problems[0].problem);
  if (!ceiling) return fail(ceiling.error());
  const Calls calls = text.eager ? Calls::one_by_one : Calls::in_a_graph;
  std::vector<ProjectionReport> reports;
  for (const NamedProblem& one : settings.problems) {
    reports.push_back({one.projection, one.problem, {}, {}, one.activation});
    const Status status = bench_one(backend, settings, one, *ceiling, calls, progress, reports.back());
    progress.end();
    if (!status) return fail(status.error());
  }
  warn_if_unsteady(reports);
  fmt::print("{}", text.json ? problems_json(reports, true) : results_table(reports));
  return 0;
}

}  // namespace expertile::cli
