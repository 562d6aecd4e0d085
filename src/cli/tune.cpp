// expertile tune: checks everything that can be checked, then races, writing each batch size as soon as it is decided.

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <system_error>

#include "cli/commands.hpp"
#include "cli/messages.hpp"
#include "cli/progress.hpp"
#include "cli/worker.hpp"
#include "files/files.hpp"
#include "problem/sizes.hpp"
#include "report/json_report.hpp"
#include "report/table.hpp"
#include "report/unsteady.hpp"
#include "store/conditions.hpp"
#include "store/config_file.hpp"

namespace expertile::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kStoppedByUser = 130;  // what shells expect after Ctrl-C

// A signal handler can reach nothing but static storage.
std::atomic<bool>& stop_requested() {
  static std::atomic<bool> stop{false};
  return stop;
}

// The first Ctrl-C asks for an end after the work in hand; SA_RESETHAND lets the second one end the process.
void catch_interrupts() {
  stop_requested();
  struct sigaction action {};
  action.sa_handler = [](int) { stop_requested().store(true); };
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

std::string utc_now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

// Can a file be made where this one is to come? Makes the directories; leaves no file.
Status check_writable(const fs::path& file) {
  const fs::path directory = file.parent_path();
  std::error_code error;
  fs::create_directories(directory, error);
  if (!error) {
    std::string probe = (directory / ".expertile-probe-XXXXXX").string();
    const int descriptor = mkstemp(probe.data());
    if (descriptor >= 0) {
      close(descriptor);
      unlink(probe.c_str());
      return {};
    }
    error.assign(errno, std::generic_category());
  }
  return fail(ErrorCode::io, fmt::format("directory '{}' cannot be written: {}; give another --output-dir",
                                         directory.string(), error.message()));
}

// A damaged file that is in the way is found before the work, not after it.
Status check_readable(const fs::path& file) {
  const auto present = read_config(file);
  if (present) {
    print_warnings(present->warnings);
    return {};
  }
  if (present.error().code == ErrorCode::not_found) return {};
  return fail(present.error().code,
              "nothing was tuned, a file is in the way; move it away: " + present.error().message);
}

// All files are looked at before the first directory is made.
Status check_targets(const std::vector<ProjectionReport>& reports) {
  for (const auto& check : {check_readable, check_writable}) {
    for (const ProjectionReport& report : reports) {
      if (report.file.empty()) continue;
      if (auto status = check(report.file); !status) return status;
    }
  }
  return {};
}

Metadata make_metadata(const Settings& settings, const ProjectionReport& report, const DeviceInfo& device,
                       const std::string& date) {
  const Problem& problem = report.problem;
  const std::string warning = unsteady_warning({report});
  Metadata metadata = {
      {"device", device.name},
      {"projection", report.projection},
      {"experts", std::to_string(problem.experts)},
      {"n", std::to_string(problem.n)},
      {"k", std::to_string(problem.k)},
      {"dtype", problem.tf32 ? "tf32" : std::string(name(problem.dtype))},
      {"block_shape",
       problem.block_shape ? fmt::format("{},{}", problem.block_shape->n, problem.block_shape->k) : "none"},
      {"routing", settings.routing.text},
      {"seed", std::to_string(settings.routing.seed)},
      {"timings", warning.empty() ? "steady" : warning},
      {"version", EXPERTILE_VERSION},
      {"date", date}};
  for (const Condition& condition : conditions_of(problem, device)) {
    metadata.emplace(condition.key, condition.value);
  }
  return metadata;
}

// The run's tiles so far, together: its metadata is theirs, and that of other batch sizes stays what it was.
Status keep_results(const ProjectionReport& report, const Metadata& metadata) {
  std::map<std::int64_t, TileConfig> tiles;
  for (const ResultRow& row : report.results) tiles[row.result.batch] = row.result.tile;
  return merge_into(report.file, tiles, metadata);
}

void announce(const std::vector<ProjectionReport>& reports, bool json) {
  for (const ProjectionReport& report : reports) {
    if (!report.file.empty()) fmt::print(json ? stderr : stdout, "{}: {}\n", report.projection, report.file.string());
  }
  std::fflush(stdout);
}

// What a run is measured by: in this process, or in others where a kernel may hang.
struct Measuring {
  const Backend& backend;
  const TextOptions& text;
  bool isolated = false;
  std::optional<Ceiling> ceiling;
};

// One projection: races its batch sizes and keeps each on disk and in `report`.
Status tune_one(Measuring& measuring, const Settings& settings, std::size_t index, Progress& progress,
                ProjectionReport& report) {
  const NamedProblem& one = settings.problems[index];
  const bool only_default = measuring.text.no_tune;
  const std::string date = utc_now();
  progress.begin(one.projection, one.problem);
  TuneOptions options;
  options.stop = &stop_requested();
  options.progress = [&](std::int64_t batch, const TileConfig& tile, double best_us) {
    progress.update(batch, tile, best_us);
  };
  options.decided = [&](const BatchResult& result) -> Status {
    report.results.push_back({result, only_default ? Match::built_in : Match::exact, {}});
    if (!only_default) {
      const Metadata metadata = make_metadata(settings, report, measuring.backend.info(), date);
      if (auto status = keep_results(report, metadata); !status) return status;
      const fs::path kernels = kernel_directory(report.file);
      if (auto status = measuring.backend.keep_kernels(one.problem, {result.tile}, {usual_types(one.problem)}, kernels);
          !status)
        return status;
      const std::string evidence = evidence_json(report, measuring.ceiling.value_or(Ceiling{}), metadata);
      if (auto status = write_atomically(evidence_path(report.file), evidence); !status) return status;
    }
    progress.decided(result);
    return {};
  };
  const auto tune_here = [&] {
    const TuningJob job{measuring.backend, one.problem, settings.routing, settings.batches, *measuring.ceiling};
    const auto results = only_default ? time_default(job, options) : tune(job, options);
    return results ? Status() : Status(fail(results.error()));
  };
  const auto tune_apart = [&] {
    WorkerPlan plan{.program = {"/proc/self/exe"}, .problem = index, .batches = settings.batches};
    plan.program.insert(plan.program.end(), measuring.text.arguments.begin(), measuring.text.arguments.end());
    return tune_in_workers(plan, options, measuring.ceiling);
  };
  if (auto status = measuring.isolated ? tune_apart() : tune_here(); !status) return status;
  if (only_default || stop_requested() || !measuring.backend.info().is_gpu()) return {};
  progress.say("keeping the kernels for every type of C");
  std::vector<TileConfig> tiles;
  for (const auto& decided : report.results) tiles.push_back(decided.result.tile);
  return measuring.backend.keep_kernels(one.problem, tiles, call_types(one.problem), kernel_directory(report.file));
}

void print_results(const std::vector<ProjectionReport>& reports, bool json) {
  if (json) {
    fmt::print("{}", problems_json(reports, true));
  } else {
    fmt::print("\n{}", results_table(reports));
  }
}

std::vector<ProjectionReport> make_reports(const Settings& settings, const DeviceInfo& device, bool with_files) {
  std::vector<ProjectionReport> reports;
  for (const auto& [projection, problem, activation] : settings.problems) {
    fs::path file = with_files ? config_path(settings.config_dir, device.name, problem) : fs::path();
    reports.push_back({projection, problem, std::move(file), {}, activation});
  }
  return reports;
}

Status tune_all(const Backend& backend, const Settings& settings, const TextOptions& text,
                std::vector<ProjectionReport>& reports) {
  const int batches = static_cast<int>(settings.batches.size() * settings.problems.size());
  Progress progress(stderr_is_terminal(), text.quiet, batches, TuneOptions{}.seconds_per_batch);
  progress.say("measuring the machine's own limits");
  Measuring measuring{backend, text, text.isolate || backend.info().is_gpu(), {}};
  if (!measuring.isolated) {
    const auto ceiling = measure_ceiling(backend, settings.problems[0].problem);
    if (!ceiling) return fail(ceiling.error());
    measuring.ceiling = *ceiling;
  }
  Status status;
  for (std::size_t i = 0; i < reports.size() && status && !stop_requested(); ++i) {
    status = tune_one(measuring, settings, i, progress, reports[i]);
  }
  progress.end();
  return status;
}

}  // namespace

Result<int> run_tune(const TextOptions& text) {
  catch_interrupts();
  if (text.worker) return run_worker(text, &stop_requested());
  const auto session = open_session(text);
  if (!session) return fail(session.error());
  const Settings& settings = session->settings;
  const Backend& backend = *session->backend;
  print_notices(settings.notices, text.quiet);

  auto reports = make_reports(settings, backend.info(), !text.no_tune);
  announce(reports, text.json);
  if (text.dry_run) {
    if (text.json) fmt::print("{}", problems_json(reports, false));
    return 0;
  }
  if (auto status = check_targets(reports); !status) return fail(status.error());
  const Status status = tune_all(backend, settings, text, reports);
  if (!status) return fail(status.error());
  warn_if_unsteady(reports);
  print_results(reports, text.json);
  if (!stop_requested()) return 0;
  std::size_t done = 0;
  for (const ProjectionReport& report : reports) done += report.results.size();
  fmt::print(stderr, "stopped: {} of {} batch sizes are done and kept\n", done,
             settings.batches.size() * settings.problems.size());
  return kStoppedByUser;
}

}  // namespace expertile::cli
