#include "run/target_files.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <map>
#include <system_error>

#include "report/unsteady.hpp"
#include "store/conditions.hpp"

namespace expertile::run {
namespace {

namespace fs = std::filesystem;

// Can a file be made where this one is to come? Makes the directories; leaves no file.
Status check_writable(const fs::path& file) {
  const fs::path directory = file.parent_path();
  std::error_code error;
  fs::create_directories(directory, error);
  if (!error) {
    std::string probe = (directory / ".expertile-probe-XXXXXX").string();
    const int descriptor = mkstemp(probe.data());
    if (descriptor >= 0) {
      close(descriptor);
      unlink(probe.c_str());
      return {};
    }
    error.assign(errno, std::generic_category());
  }
  return fail(ErrorCode::io, fmt::format("directory '{}' cannot be written: {}; give another --output-dir",
                                         directory.string(), error.message()));
}

// A damaged file that is in the way.
Status check_readable(const fs::path& file, const Events::Line& warning) {
  const auto present = read_config(file);
  if (present) {
    tell_all(warning, present->warnings);
    return {};
  }
  if (present.error().code == ErrorCode::not_found) return {};
  return fail(present.error().code,
              "nothing was tuned, a file is in the way; move it away: " + present.error().message);
}

}  // namespace

Status check_targets(const std::vector<ProjectionReport>& reports, const Events::Line& warning) {
  for (const ProjectionReport& report : reports) {
    if (report.file.empty()) continue;
    if (auto status = check_readable(report.file, warning); !status) return status;
  }
  for (const ProjectionReport& report : reports) {
    if (report.file.empty()) continue;
    if (auto status = check_writable(report.file); !status) return status;
  }
  return {};
}

std::string utc_now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

Metadata make_metadata(const Settings& settings, const ProjectionReport& report, const DeviceInfo& device,
                       const std::string& date) {
  const Problem& problem = report.problem;
  const std::string warning = unsteady_warning({report});
  Metadata metadata = {
      {"device", device.name},
      {"projection", report.projection},
      {"experts", std::to_string(problem.experts)},
      {"n", std::to_string(problem.n)},
      {"k", std::to_string(problem.k)},
      {"dtype", problem.tf32 ? "tf32" : std::string(name(problem.dtype))},
      {"block_shape",
       problem.block_shape ? fmt::format("{},{}", problem.block_shape->n, problem.block_shape->k) : "none"},
      {"routing", settings.routing.text},
      {"seed", std::to_string(settings.routing.seed)},
      {"timings", warning.empty() ? "steady" : warning},
      {"version", EXPERTILE_VERSION},
      {"date", date}};
  for (const Condition& condition : conditions_of(problem, device)) {
    metadata.emplace(condition.key, condition.value);
  }
  return metadata;
}

Status keep_results(const ProjectionReport& report, const Metadata& metadata) {
  std::map<std::int64_t, TileConfig> tiles;
  for (const ResultRow& row : report.results) tiles[row.result.batch] = row.result.tile;
  return merge_into(report.file, tiles, metadata);
}

}  // namespace expertile::run
