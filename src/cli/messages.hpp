#pragma once
// What the user is told beside results, on standard error.

#include <string>
#include <vector>

#include "report/projection_report.hpp"

namespace expertile::cli {

// "notice: ..." lines on standard error, unless --quiet.
void print_notices(const std::vector<std::string>& notices, bool quiet);
// Always: "warning: ..." lines on standard error.
void print_warnings(const std::vector<std::string>& warnings);
// Likewise, where the times of these reports were disturbed.
void warn_if_unsteady(const std::vector<ProjectionReport>& reports);

}  // namespace expertile::cli
