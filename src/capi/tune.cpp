// Tuning, timing and looking up, with the caller's functions as events.

#include "expertile/tune.hpp"

#include "capi/structs.hpp"
#include "plan/tile_schema.hpp"

namespace expertile::capi {
namespace {

Result<std::vector<TuneOption>> options_of(const expertile_option* given, std::size_t count) {
  if (given == nullptr && count > 0) return invalid(fmt::format("options is null, option_count says {}", count));
  std::vector<TuneOption> options;
  for (std::size_t i = 0; i < count; ++i) {
    if (given[i].name == nullptr || given[i].value == nullptr) {
      return invalid(
          fmt::format("options[{}].{} is null, it must be text", i, given[i].name == nullptr ? "name" : "value"));
    }
    options.push_back({given[i].name, given[i].value});
  }
  return options;
}

Result<std::vector<std::string>> worker_of(const char* const* given, std::size_t count) {
  if (given == nullptr && count > 0) return invalid(fmt::format("worker_program is null, worker_count says {}", count));
  std::vector<std::string> program;
  for (std::size_t i = 0; i < count; ++i) {
    if (given[i] == nullptr) return invalid(fmt::format("worker_program[{}] is null, it must be text", i));
    program.emplace_back(given[i]);
  }
  return program;
}

using Line = void (*)(void*, const char*);
std::function<void(std::string_view)> line_to(Line callback, void* user) {
  if (callback == nullptr) return {};
  return [callback, user](std::string_view line) { callback(user, std::string(line).c_str()); };
}

void tell_progress(const expertile_events& to, const TuneProgress& progress) {
  const std::string projection(progress.projection);
  const std::string tile = describe(progress.tile);
  const expertile_tune_progress told{.size = sizeof(expertile_tune_progress),
                                     .projection = projection.c_str(),
                                     .tile = tile.c_str(),
                                     .batch = progress.batch,
                                     .best_us = progress.best_us,
                                     .share_done = progress.share_done,
                                     .seconds_left = progress.seconds_left,
                                     .done = progress.done,
                                     .all = progress.all};
  to.progress(to.user, &told);
}

void tell_batch(const expertile_events& to, std::string_view of, const TunedBatch& batch) {
  const std::string projection(of);
  const std::string tile = describe(batch.tile);
  const expertile_tuned_batch told{.size = sizeof(expertile_tuned_batch),
                                   .projection = projection.c_str(),
                                   .tile = tile.c_str(),
                                   .batch = batch.batch,
                                   .rows = batch.rows,
                                   .default_us = batch.default_us,
                                   .tuned_us = batch.tuned_us,
                                   .ratio = batch.ratio,
                                   .noise = batch.noise,
                                   .gflops = batch.gflops,
                                   .gbps = batch.gbps,
                                   .ceiling_us = batch.ceiling_us};
  to.decided(to.user, &told);
}

// given: outlives what is returned. Null: no events.
Result<TuneEvents> events_of(const expertile_events* given) {
  TuneEvents events;
  if (given == nullptr) return events;
  if (auto status = check_struct(given, "events", "expertile_events"); !status) return fail(status.error());
  events.notice = line_to(given->notice, given->user);
  events.warning = line_to(given->warning, given->user);
  events.step = line_to(given->step, given->user);
  if (given->progress != nullptr) {
    events.progress = [given](const TuneProgress& progress) { tell_progress(*given, progress); };
  }
  if (given->decided != nullptr) {
    events.decided = [given](std::string_view projection, const TunedBatch& batch) {
      tell_batch(*given, projection, batch);
    };
  }
  if (given->stop_requested != nullptr) {
    events.stop_requested = [given] { return given->stop_requested(given->user) != 0; };
  }
  return events;
}

// `run`, with the options and events as the library has them; its document goes to the caller.
template <class Run>
expertile_status run_with(const expertile_option* options, std::size_t count, const expertile_events* events,
                          const Run& run) noexcept {
  return guarded([&]() -> Status {
    const auto wanted = options_of(options, count);
    if (!wanted) return fail(wanted.error());
    const auto told = events_of(events);
    if (!told) return fail(told.error());
    const auto done = run(*wanted, *told);
    if (!done) return fail(done.error());
    if (events != nullptr && events->document != nullptr) events->document(events->user, done->json.c_str());
    return {};
  });
}

}  // namespace
}  // namespace expertile::capi

extern "C" {

expertile_status expertile_tune(const expertile_option* options, size_t option_count, const expertile_events* events,
                                const char* const* worker_program, size_t worker_count) {
  using namespace expertile;
  return capi::run_with(options, option_count, events, [&](const auto& wanted, const auto& told) -> Result<TuneRun> {
    const auto worker = capi::worker_of(worker_program, worker_count);
    if (!worker) return fail(worker.error());
    return tune(wanted, told, *worker);
  });
}

expertile_status expertile_bench(const expertile_option* options, size_t option_count, const expertile_events* events) {
  using namespace expertile;
  return capi::run_with(options, option_count, events,
                        [](const auto& wanted, const auto& told) { return bench(wanted, told); });
}

expertile_status expertile_show(const expertile_option* options, size_t option_count, const expertile_events* events) {
  using namespace expertile;
  return capi::run_with(options, option_count, events,
                        [](const auto& wanted, const auto& told) { return show(wanted, told); });
}

}  // extern "C"
