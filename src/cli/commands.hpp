#pragma once
// One function a subcommand; each returns the exit status of a run without an error.

#include "cli/options.hpp"
#include "report/projection_report.hpp"

namespace expertile::cli {

[[nodiscard]] Result<int> run_tune(const TextOptions& text);
[[nodiscard]] Result<int> run_bench(const TextOptions& text);
[[nodiscard]] Result<int> run_show(const TextOptions& text);
[[nodiscard]] Result<int> run_info(const TextOptions& text);

// "notice: ..." lines on standard error, unless --quiet.
void print_notices(const std::vector<std::string>& notices, bool quiet);
// Always: "warning: ..." lines on standard error.
void print_warnings(const std::vector<std::string>& warnings);
// Likewise, where the times of these reports were disturbed.
void warn_if_unsteady(const std::vector<ProjectionReport>& reports);

}  // namespace expertile::cli
