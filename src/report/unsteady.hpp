#pragma once
// What is said of a run whose times were disturbed.

#include <string>
#include <vector>

#include "report/projection_report.hpp"

namespace expertile {

// One line that says by how much and what follows; empty where every batch size was timed on a steady machine.
[[nodiscard]] std::string unsteady_warning(const std::vector<ProjectionReport>& reports);

}  // namespace expertile
