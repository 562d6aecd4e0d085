// expertile/tune.hpp: names and values -> options, the run's own values -> those of the public header.

#include <functional>
#include <new>
#include <utility>

#include "expertile/tune.hpp"
#include "run/option_table.hpp"
#include "run/run.hpp"

namespace expertile {
namespace {

TunedBatch public_batch(const ResultRow& row) {
  const BatchResult& result = row.result;
  return {.batch = result.batch,
          .rows = result.rows,
          .tile = result.tile,
          .default_us = result.default_us,
          .tuned_us = result.tuned_us,
          .ratio = result.ratio,
          .noise = result.noise,
          .spread = result.spread,
          .waited = result.waited,
          .gflops = gflops(result),
          .gbps = gbps(result),
          .ceiling_us = result.ceiling_us,
          .match = row.match,
          .differs = row.differs};
}

TunedProjection public_projection(const ProjectionReport& report) {
  TunedProjection projection{.projection = report.projection,
                             .problem = report.problem,
                             .activation = report.activation.name,
                             .is_gated = report.activation.is_gated,
                             .file = report.file,
                             .batches = {}};
  for (const ResultRow& row : report.results) projection.batches.push_back(public_batch(row));
  return projection;
}

TuneRun public_run(run::RunResult result) {
  TuneRun all{.projections = {},
              .batches_wanted = result.batches_wanted,
              .stopped = result.stopped,
              .warning = std::move(result.warning),
              .json = std::move(result.json)};
  for (const ProjectionReport& report : result.reports) all.projections.push_back(public_projection(report));
  return all;
}

// events: outlives what is returned.
run::Events inner_events(const TuneEvents& events) {
  run::Events inner{.notice = events.notice, .warning = events.warning, .step = events.step};
  inner.progress = events.progress;
  inner.stop_requested = events.stop_requested;
  return inner;
}

// With what is told of batch sizes, of a run that measures. quiet: without progress.
run::Events measuring_events(const TuneEvents& events, bool quiet) {
  run::Events inner = inner_events(events);
  inner.decided = [&events, quiet](const TuneProgress& now, const ResultRow& row) {
    if (events.decided) events.decided(now.projection, public_batch(row));
    if (events.progress && !quiet) events.progress(now);
  };
  return inner;
}

// An error is one line, and memory that is not there is one.
template <class T>
Result<T> guarded(const std::function<Result<T>()>& work) {
  try {
    auto result = work();
    if (!result) return fail(result.error().code, run::one_line(result.error().message));
    return result;
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::internal, run::kOutOfMemory);
  }
}

}  // namespace

Result<TuneRun> tune(std::span<const TuneOption> options, const TuneEvents& events,
                     const std::vector<std::string>& worker_program) {
  return guarded<TuneRun>([&]() -> Result<TuneRun> {
    const auto text = run::parse_options(run::Command::tune, options);
    if (!text) return fail(text.error());
    return run::tune(*text, measuring_events(events, text->quiet), worker_program).map(public_run);
  });
}

Result<TuneRun> bench(std::span<const TuneOption> options, const TuneEvents& events) {
  return guarded<TuneRun>([&]() -> Result<TuneRun> {
    const auto text = run::parse_options(run::Command::bench, options);
    if (!text) return fail(text.error());
    return run::bench(*text, measuring_events(events, text->quiet)).map(public_run);
  });
}

Result<Shown> show(std::span<const TuneOption> options, const TuneEvents& events) {
  return guarded<Shown>([&]() -> Result<Shown> {
    const auto text = run::parse_options(run::Command::show, options);
    if (!text) return fail(text.error());
    return run::show(*text, inner_events(events));
  });
}

}  // namespace expertile
