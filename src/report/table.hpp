#pragma once
// Results as aligned text.

#include <string>
#include <vector>

#include "report/projection_report.hpp"

namespace expertile {

// Columns as wide as their widest cell, two spaces apart, numbers to the right, no spaces at a line's end. Rows may be
// shorter than the header.
[[nodiscard]] std::string aligned_text(const std::vector<std::string>& header,
                                       const std::vector<std::vector<std::string>>& rows);

// One line per projection and batch size: times, ratio, GFLOP/s, GB/s, percent of the measured ceiling ("-" and a
// note where it was passed), tile; where a row is no exact match, how each was found too.
[[nodiscard]] std::string results_table(const std::vector<ProjectionReport>& reports);

// A tile as four numbers, so that a line still fits a terminal; the file spells the names out.
[[nodiscard]] std::string tile_text(const TileConfig& tile);

}  // namespace expertile
