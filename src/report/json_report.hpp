#pragma once
// JSON documents: what --json prints, and the evidence beside a configuration file.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "expertile/device.hpp"
#include "expertile/tune.hpp"
#include "report/projection_report.hpp"

namespace expertile {

// {"problems": [{"projection", "experts", "n", "k", "dtype", "block_shape", "top_k", "scales", "activation", "gated",
// "file", "results": [...]}]}. block_shape is null or [n, k]; file is null where there is none. with_results: false
// under --dry-run. "warning" stands behind "problems" where the machine was busy: see unsteady_warning.
[[nodiscard]] std::string problems_json(const std::vector<ProjectionReport>& reports, bool with_results);

[[nodiscard]] std::string selections_json(const std::vector<ShownProjection>& shown);

// {"version", "config_dir", "devices": [...], "unavailable": [...], "libraries": {...}}
[[nodiscard]] std::string info_json(const std::string& version, const std::filesystem::path& config_dir,
                                    const std::vector<DeviceInfo>& devices, const std::vector<std::string>& unavailable,
                                    const std::map<std::string, std::string>& libraries);

// X.json -> X.report.json
[[nodiscard]] std::filesystem::path evidence_path(const std::filesystem::path& config_file);
// Every candidate's samples, what was refused and why, for the batch sizes of this run.
[[nodiscard]] std::string evidence_json(const ProjectionReport& report, const Ceiling& ceiling,
                                        const std::map<std::string, std::string>& metadata);

}  // namespace expertile
