#include "run/run.hpp"

#include "report/json_report.hpp"
#include "report/unsteady.hpp"

namespace expertile::run {

int RunResult::batches_done() const {
  std::size_t done = 0;
  for (const ProjectionReport& report : reports) done += report.results.size();
  return static_cast<int>(done);
}

std::string one_line(std::string text) {
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return text;
}

RunResult finished(std::vector<ProjectionReport> reports, const Settings& settings, bool stopped,
                   const Events& events) {
  RunResult result{.reports = std::move(reports),
                   .batches_wanted = settings.all_batches(),
                   .stopped = stopped,
                   .warning = {},
                   .json = {}};
  result.warning = unsteady_warning(result.reports);
  if (!result.warning.empty()) tell(events.warning, result.warning);
  result.json = problems_json(result.reports, true);
  return result;
}

}  // namespace expertile::run
