// Checks everything that can be checked, then races, writing each batch size as soon as it is decided.

#include <optional>
#include <utility>

#include "files/files.hpp"
#include "report/json_report.hpp"
#include "run/course.hpp"
#include "run/option_table.hpp"
#include "run/run.hpp"
#include "run/target_files.hpp"
#include "run/tool.hpp"
#include "run/worker.hpp"
#include "store/config_file.hpp"

namespace expertile::run {
namespace {

namespace fs = std::filesystem;

// What a run is measured by: in this process, or in others where a kernel may hang.
struct Measuring {
  const Backend& backend;
  const Settings& settings;
  bool only_default = false;
  std::vector<std::string> program{};  // of those others, with all options; empty: this process
  std::optional<Ceiling> ceiling{};
};

// A decided batch size, which is the report's last, goes to disk: tiles, kernels, evidence.
Status keep(const Measuring& measuring, const ProjectionReport& report, const Metadata& metadata) {
  if (auto status = keep_results(report, metadata); !status) return status;
  const TileConfig& tile = report.results.back().result.tile;
  const fs::path kernels = kernel_directory(report.file);
  if (auto status = measuring.backend.keep_kernels(report.problem, {tile}, {usual_types(report.problem)}, kernels);
      !status) {
    return status;
  }
  const std::string evidence = evidence_json(report, measuring.ceiling.value_or(Ceiling{}), metadata);
  return write_atomically(evidence_path(report.file), evidence);
}

Status measure(Measuring& measuring, std::size_t index, const TuneOptions& options) {
  const Settings& settings = measuring.settings;
  if (!measuring.program.empty()) {
    return tune_in_workers({.program = measuring.program, .problem = index, .batches = settings.batches}, options,
                           measuring.ceiling);
  }
  const TuningJob job{measuring.backend, settings.problems[index].problem, settings.routing, settings.batches,
                      *measuring.ceiling};
  const auto results = measuring.only_default ? time_default(job, options) : expertile::tune(job, options);
  return results ? Status() : Status(fail(results.error()));
}

// One projection: races its batch sizes and keeps each on disk and in `report`.
Status tune_one(Measuring& measuring, std::size_t index, Course& course, ProjectionReport& report) {
  const std::string date = utc_now();
  course.begin(measuring.settings.problems[index]);
  TuneOptions options;
  course.watch(options);
  options.decided = [&](const BatchResult& result) -> Status {
    report.results.push_back({result, measuring.only_default ? Match::built_in : Match::exact, {}});
    if (!measuring.only_default) {
      const Metadata metadata = make_metadata(measuring.settings, report, measuring.backend.info(), date);
      if (auto status = keep(measuring, report, metadata); !status) return status;
    }
    course.decided(report.results.back());
    return {};
  };
  if (auto status = measure(measuring, index, options); !status) return status;
  const bool is_stopped = course.is_stopped();
  if (!is_stopped && report.results.size() < measuring.settings.batches.size()) {
    return fail(ErrorCode::internal, "the measuring process ended before it was done");
  }
  if (measuring.only_default || is_stopped || !measuring.backend.info().is_gpu()) return {};
  course.step("keeping the kernels for every type of C");
  std::vector<TileConfig> tiles;
  for (const auto& decided : report.results) tiles.push_back(decided.result.tile);
  return measuring.backend.keep_kernels(report.problem, tiles, call_types(report.problem),
                                        kernel_directory(report.file));
}

std::vector<ProjectionReport> make_reports(const Settings& settings, const DeviceInfo& device, bool with_files) {
  std::vector<ProjectionReport> reports;
  for (const auto& [projection, problem, activation] : settings.problems) {
    fs::path file = with_files ? config_path(settings.config_dir, device.name, problem) : fs::path();
    reports.push_back({projection, problem, std::move(file), {}, activation});
  }
  return reports;
}

Status tune_all(Measuring& measuring, Course& course, std::vector<ProjectionReport>& reports) {
  course.step("measuring the machine's own limits");
  if (measuring.program.empty()) {
    const auto ceiling = measure_ceiling(measuring.backend, measuring.settings.problems[0].problem);
    if (!ceiling) return fail(ceiling.error());
    measuring.ceiling = *ceiling;
  }
  Status status;
  for (std::size_t i = 0; i < reports.size() && status && !course.is_stopped(); ++i) {
    status = tune_one(measuring, i, course, reports[i]);
  }
  return status;
}

// The measuring process is told what this one was told.
Result<std::vector<std::string>> worker_program(const TextOptions& text, const std::vector<std::string>& tool) {
  auto program = find_tool(tool);
  if (!program) return fail(program.error());
  program->emplace_back(name(Command::tune));
  const auto options = arguments_of(text, Command::tune);
  program->insert(program->end(), options.begin(), options.end());
  return program;
}

}  // namespace

Result<RunResult> tune(const TextOptions& text, const Events& all_events, const std::vector<std::string>& tool) {
  const Events events = audible(all_events, text.quiet);
  const auto session = open_session(text);
  if (!session) return fail(session.error());
  const Settings& settings = session->settings;
  const Backend& backend = *session->backend;
  tell_all(events.notice, settings.notices);

  auto reports = make_reports(settings, backend.info(), !text.no_tune);
  if (events.planned) events.planned(reports);
  if (text.dry_run) {
    std::string json = problems_json(reports, false);
    return RunResult{std::move(reports), settings.all_batches(), false, {}, std::move(json)};
  }
  Measuring measuring{backend, settings, text.no_tune};
  if (text.isolate || backend.info().is_gpu()) {
    auto program = worker_program(text, tool);
    if (!program) return fail(program.error());
    measuring.program = std::move(*program);
  }
  if (auto status = check_targets(reports, events.warning); !status) return fail(status.error());
  Course course(events, settings.all_batches());
  if (auto status = tune_all(measuring, course, reports); !status) return fail(status.error());
  const bool stopped = course.is_stopped();
  return finished(std::move(reports), settings, stopped, events);
}

}  // namespace expertile::run
