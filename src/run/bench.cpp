// Times what a call would run with, on the tuner's problems and routings.

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "run/course.hpp"
#include "run/run.hpp"
#include "store/config_file.hpp"
#include "store/lookup.hpp"

namespace expertile::run {
namespace {

struct Timing {
  const Backend& backend;
  const Settings& settings;
  Ceiling ceiling;
  Calls calls = Calls::in_a_graph;
};

Status bench_one(const Timing& timing, const NamedProblem& one, const Events& events, Course& course,
                 ProjectionReport& report) {
  const Settings& settings = timing.settings;
  const LookUp found = look_up(config_directories(settings.config_dir), timing.backend.info(), one.problem);
  tell_all(events.warning, found.warnings);
  report.file = found.file;
  course.begin(one);
  course.step(found.file.empty() ? fmt::format("no file; looked for {}", found.wanted.string())
                                 : fmt::format("file: {}", found.file.string()));
  TuneOptions options;
  options.calls = timing.calls;
  course.watch(options);
  options.decided = [&](const BatchResult& result) -> Status {
    const Selection selection = choose(found, one.problem, std::llround(result.rows));
    report.results.push_back({result, selection.match, selection.differs});
    course.decided(report.results.back());
    return {};
  };
  const auto in_use = [&](std::int64_t rows) { return choose(found, one.problem, rows).tile; };
  const TuningJob job{timing.backend, one.problem, settings.routing, settings.batches, timing.ceiling};
  const auto results = time_given(job, options, in_use);
  if (!results) return fail(results.error());
  return {};
}

}  // namespace

Result<RunResult> bench(const TextOptions& text, const Events& all_events) {
  const Events events = audible(all_events, text.quiet);
  const auto session = open_session(text);
  if (!session) return fail(session.error());
  const Settings& settings = session->settings;
  const Backend& backend = *session->backend;
  tell_all(events.notice, settings.notices);

  Course course(events, settings.all_batches());
  course.step("measuring the machine's own limits");
  const auto ceiling = measure_ceiling(backend, settings.problems[0].problem);
  if (!ceiling) return fail(ceiling.error());
  const Timing timing{backend, settings, *ceiling, text.eager ? Calls::one_by_one : Calls::in_a_graph};
  std::vector<ProjectionReport> reports;
  for (const NamedProblem& one : settings.problems) {
    reports.push_back({one.projection, one.problem, {}, {}, one.activation});
    if (course.is_stopped()) continue;
    if (auto status = bench_one(timing, one, events, course, reports.back()); !status) return fail(status.error());
  }
  const bool stopped = course.is_stopped();
  return finished(std::move(reports), settings, stopped, events);
}

}  // namespace expertile::run
