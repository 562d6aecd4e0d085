// Which file, which configuration and which kind of match a call would get. Times nothing.

#include <utility>

#include "report/json_report.hpp"
#include "run/run.hpp"
#include "store/config_file.hpp"
#include "store/lookup.hpp"
#include "store/tune_command.hpp"

namespace expertile::run {
namespace {

ShownProjection shown_of(const NamedProblem& one, const LookUp& found, const Settings& settings) {
  const std::string command = tune_command(one.problem, {found.directory, settings.device, settings.threads});
  ShownProjection shown{.projection = one.projection,
                        .problem = one.problem,
                        .activation = one.activation.name,
                        .is_gated = one.activation.is_gated,
                        .wanted = found.wanted,
                        .file = found.file,
                        .command = missing_line(found, command).empty() ? std::string() : command,
                        .batches = {}};
  for (const std::int64_t batch : settings.batches) {
    const std::int64_t rows = batch * one.problem.top_k;
    shown.batches.push_back({batch, rows, choose(found, one.problem, rows)});
  }
  return shown;
}

}  // namespace

Result<Shown> show(const TextOptions& text, const Events& all_events) {
  const Events events = audible(all_events, text.quiet);
  const auto settings = resolve(text);
  if (!settings) return fail(settings.error());
  const auto device = describe_device(settings->device, settings->threads);
  if (!device) return fail(device.error());
  tell_all(events.notice, settings->notices);
  Shown shown;
  for (const NamedProblem& one : settings->problems) {
    const LookUp found = look_up(config_directories(settings->config_dir), *device, one.problem);
    tell_all(events.warning, found.warnings);
    shown.projections.push_back(shown_of(one, found, *settings));
  }
  shown.json = selections_json(shown.projections);
  return shown;
}

}  // namespace expertile::run
