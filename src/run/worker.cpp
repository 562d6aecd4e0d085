#include "run/worker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "plan/candidates.hpp"
#include "report/worker_messages.hpp"
#include "run/child.hpp"

namespace expertile::run {
namespace {

using Kind = WorkerMessage::Kind;

using Say = std::function<void(const WorkerMessage& message)>;

Result<Ceiling> ceiling_for(const Backend& backend, const Problem& problem, const WorkerJob& job, const Say& say) {
  if (job.ceiling) return *job.ceiling;
  auto measured = measure_ceiling(backend, problem);
  if (measured) say({.kind = Kind::ceiling, .ceiling = *measured});
  return measured;
}

Status do_job(const TextOptions& text, const WorkerJob& job, const std::function<bool()>& is_stopped, const Say& say) {
  const auto session = open_session(text);
  if (!session) return fail(session.error());
  if (job.problem >= session->settings.problems.size()) {
    return fail(ErrorCode::invalid_argument, fmt::format("--worker names problem {}", job.problem));
  }
  const Problem& problem = session->settings.problems[job.problem].problem;
  const auto ceiling = ceiling_for(*session->backend, problem, job, say);
  if (!ceiling) return fail(ceiling.error());
  TuneOptions options;
  options.is_stopped = is_stopped;
  options.refused = job.refused;
  options.trying = [&](std::int64_t batch, const TileConfig& tile) {
    say({.kind = Kind::trying, .batch = batch, .tile = tile});
  };
  options.progress = [&](std::int64_t batch, const TileConfig& tile, double best_us) {
    say({.kind = Kind::timed, .batch = batch, .tile = tile, .best_us = best_us});
  };
  options.decided = [&](const BatchResult& result) -> Status {
    say({.kind = Kind::decided, .result = result});
    return {};
  };
  const TuningJob tuning{*session->backend, problem, session->settings.routing, job.batches, *ceiling};
  const auto results = text.no_tune ? time_default(tuning, options) : expertile::tune(tuning, options);
  if (!results) return fail(results.error());
  return {};
}

// What one process said.
struct Watched {
  std::optional<std::pair<std::int64_t, TileConfig>> in_hand;
  std::vector<std::int64_t> decided;
  std::optional<Error> failed;  // by its own words
  std::optional<Error> broken;  // a callback's error, or a line that is no message
};

bool is_stopped(const TuneOptions& options) { return options.is_stopped && options.is_stopped(); }

// False when no more is wanted: whoever asked for an end may have asked this process alone, so the other one is ended.
bool take(const WorkerMessage& message, const TuneOptions& options, std::optional<Ceiling>& ceiling, Watched& watched) {
  switch (message.kind) {
    case Kind::trying:
      watched.in_hand = {message.batch, message.tile};
      return !is_stopped(options);
    case Kind::timed:
      if (options.progress) options.progress(message.batch, message.tile, message.best_us);
      return !is_stopped(options);
    case Kind::ceiling:
      ceiling = message.ceiling;
      return true;
    case Kind::decided:
      watched.in_hand.reset();
      watched.decided.push_back(message.result.batch);
      if (const Status kept = options.decided ? options.decided(message.result) : Status(); !kept) {
        watched.broken = kept.error();
        return false;
      }
      return !is_stopped(options);
    case Kind::failed:
      break;
  }
  watched.failed = message.error;
  return true;
}

Result<ChildEnd> run_one(const WorkerPlan& plan, const WorkerJob& job, const TuneOptions& options,
                         std::optional<Ceiling>& ceiling, Watched& watched) {
  std::vector<std::string> arguments = plan.program;
  arguments.insert(arguments.end(), {"--worker", to_text(job)});
  return run_child(arguments, plan.most_silent_seconds, [&](std::string_view line) {
    const auto message = parse_worker_message(line);
    if (message) return take(*message, options, ceiling, watched);
    watched.broken = message.error();
    return false;
  });
}

// What was in hand when a process failed is not tried again; an error where nothing was, or nothing can replace it.
Status refuse_what_was_in_hand(const Watched& watched, const std::string& why, WorkerJob& job) {
  if (!watched.in_hand) return fail(ErrorCode::internal, fmt::format("the measuring process {}", why));
  const auto& [batch, tile] = *watched.in_hand;
  if (std::ranges::find(job.refused, tile, &RefusedTile::tile) != job.refused.end()) {
    // It is the default, which is never left out.
    return fail(ErrorCode::internal, fmt::format("the built-in configuration {} fails at batch size {}: {}",
                                                 expertile::describe(tile), batch, why));
  }
  job.refused.push_back({tile, fmt::format("{}: {}", expertile::describe(tile), why)});
  return {};
}

}  // namespace

Result<int> run_worker(const TextOptions& text, const std::function<bool()>& is_stopped,
                       const std::function<void(std::string_view line)>& say_line) {
  const auto job = parse_worker_job(*text.worker);
  if (!job) return fail(job.error());
  const Say say = [&](const WorkerMessage& message) { say_line(to_text(message)); };
  const Status done = do_job(text, *job, is_stopped, say);
  if (done) return 0;
  say({.kind = Kind::failed, .error = done.error()});
  return exit_status(done.error());
}

Status tune_in_workers(const WorkerPlan& plan, const TuneOptions& options, std::optional<Ceiling>& ceiling) {
  WorkerJob job{.problem = plan.problem, .batches = plan.batches, .ceiling = {}, .refused = {}};
  for (int replacements = 0; !job.batches.empty() && !is_stopped(options); ++replacements) {
    job.ceiling = ceiling;
    Watched watched;
    const auto end = run_one(plan, job, options, ceiling, watched);
    if (!end) return fail(end.error());
    if (watched.broken) return fail(*watched.broken);
    std::erase_if(job.batches, [&](std::int64_t batch) {
      return std::ranges::find(watched.decided, batch) != watched.decided.end();
    });
    if (end->is_good() || is_stopped(options)) return {};
    // What the user can mend is no tile's fault.
    if (watched.failed && watched.failed->code != ErrorCode::internal) return fail(*watched.failed);
    const std::string why = watched.failed ? watched.failed->message : describe(*end, plan.most_silent_seconds);
    if (replacements >= plan.most_replacements) {
      return fail(ErrorCode::internal, fmt::format("the measuring process {}", why));
    }
    if (auto status = refuse_what_was_in_hand(watched, why, job); !status) return status;
  }
  return {};
}

}  // namespace expertile::run
