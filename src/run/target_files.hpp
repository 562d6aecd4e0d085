#pragma once
// The files that a tuning is to leave: looked at before the work, and kept as it goes.

#include <string>
#include <vector>

#include "expertile/device.hpp"
#include "report/projection_report.hpp"
#include "run/events.hpp"
#include "run/options.hpp"
#include "store/config_file.hpp"

namespace expertile::run {

// Every file that is there can be read, and every one can be written: that is found before the work, not after it. All
// are looked at before the first directory is made. warning: what reading them says.
[[nodiscard]] Status check_targets(const std::vector<ProjectionReport>& reports, const Events::Line& warning);

// What the file says of this run's tiles. date: UTC.
[[nodiscard]] Metadata make_metadata(const Settings& settings, const ProjectionReport& report, const DeviceInfo& device,
                                     const std::string& date);
[[nodiscard]] std::string utc_now();

// The run's tiles so far, together: its metadata is theirs, and that of other batch sizes stays what it was.
[[nodiscard]] Status keep_results(const ProjectionReport& report, const Metadata& metadata);

}  // namespace expertile::run
