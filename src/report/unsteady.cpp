#include "report/unsteady.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace expertile {

std::string unsteady_warning(const std::vector<ProjectionReport>& reports) {
  double spread = 0;
  double waited = 0;
  int all = 0;
  int unsteady = 0;
  for (const ProjectionReport& report : reports) {
    for (const ResultRow& row : report.results) {
      ++all;
      if (!row.result.is_unsteady()) continue;
      ++unsteady;
      spread = std::max(spread, row.result.spread);
      waited = std::max(waited, row.result.waited);
    }
  }
  if (unsteady == 0) return {};
  const std::string others =
      waited > 0.01 ? fmt::format(" and threads waited for a processor {:.0f}% of the time", 100 * waited) : "";
  return fmt::format(
      "the machine is busy: at {} of {} batch sizes timings vary by up to {:.0f}%{}; what is no faster than the "
      "default "
      "by more than its timings vary counts as no gain; run again on an idle machine",
      unsteady, all, 100 * spread, others);
}

}  // namespace expertile
