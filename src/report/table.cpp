#include "report/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

namespace expertile {
namespace {

std::vector<std::string> cells(const std::string& projection, const ResultRow& row) {
  const BatchResult& result = row.result;
  const auto percent = percent_of_ceiling(result);
  return {projection,
          fmt::format("{}", result.batch),
          fmt::format("{:.1f}", result.default_us),
          fmt::format("{:.1f}", result.tuned_us),
          fmt::format("{:.2f}x", result.ratio),
          fmt::format("{:.1f}", gflops(result)),
          fmt::format("{:.1f}", gbps(result)),
          percent ? fmt::format("{:.0f}%", *percent) : "-",
          tile_text(result.tile),
          fmt::format("{}{}{}", name(row.match), row.differs.empty() ? "" : ": ", row.differs)};
}

bool starts_like_a_number(const std::string& cell) { return !cell.empty() && cell[0] >= '0' && cell[0] <= '9'; }

}  // namespace

std::string tile_text(const TileConfig& tile) {
  return fmt::format("{}x{}x{} g{}", tile.block_size_m, tile.block_size_n, tile.block_size_k, tile.group_size_m);
}

std::string aligned_text(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(header.size(), 0);
  // A column lies to the right when its first cell is a number; the last one never does.
  std::vector<bool> right(header.size(), false);
  for (std::size_t i = 0; i < header.size(); ++i) {
    widths[i] = header[i].size();
    right[i] = i + 1 < header.size() && !rows.empty() && i < rows[0].size() && starts_like_a_number(rows[0][i]);
    for (const auto& row : rows) {
      if (i < row.size()) widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  const auto add_line = [&](const std::vector<std::string>& line) {
    std::string out;
    for (std::size_t i = 0; i < line.size() && i < widths.size(); ++i) {
      if (i > 0) out += "  ";
      out += right[i] ? fmt::format("{:>{}}", line[i], widths[i]) : fmt::format("{:<{}}", line[i], widths[i]);
    }
    out.erase(out.find_last_not_of(' ') + 1);
    text += out + '\n';
  };
  add_line(header);
  for (const auto& row : rows) add_line(row);
  return text;
}

std::string results_table(const std::vector<ProjectionReport>& reports) {
  std::vector<std::string> header = {"projection", "batch", "default us", "tuned us",        "ratio",
                                     "GFLOP/s",    "GB/s",  "ceiling",    "tile MxNxK group"};
  std::vector<std::vector<std::string>> rows;
  bool is_beyond = false;
  bool is_exact = true;
  for (const ProjectionReport& report : reports) {
    for (const ResultRow& row : report.results) {
      rows.push_back(cells(report.projection, row));
      is_beyond = is_beyond || !percent_of_ceiling(row.result);
      is_exact = is_exact && row.match == Match::exact;
    }
  }
  if (!is_exact) header.push_back("match");
  const std::string table = aligned_text(header, rows);
  return is_beyond ? table +
                         "ceiling -: faster than the limits that were measured before, on a machine that was busy "
                         "or for tensors that no cache holds\n"
                   : table;
}

}  // namespace expertile
