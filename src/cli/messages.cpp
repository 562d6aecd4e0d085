#include "cli/messages.hpp"

#include <fmt/format.h>

#include "report/unsteady.hpp"

namespace expertile::cli {

void print_notices(const std::vector<std::string>& notices, bool quiet) {
  if (quiet) return;
  for (const std::string& notice : notices) fmt::print(stderr, "notice: {}\n", notice);
}

void print_warnings(const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings) fmt::print(stderr, "warning: {}\n", warning);
}

void warn_if_unsteady(const std::vector<ProjectionReport>& reports) {
  if (const std::string warning = unsteady_warning(reports); !warning.empty()) print_warnings({warning});
}

}  // namespace expertile::cli
