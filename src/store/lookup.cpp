#include "store/lookup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>

#include "plan/candidates.hpp"
#include "store/config_file.hpp"

namespace expertile {
namespace {

namespace fs = std::filesystem;

// The file's tiles that the problem accepts; what stands in the way is noted.
std::map<std::int64_t, TileConfig> usable_tiles(const fs::path& file, const DeviceInfo& device, const Problem& problem,
                                                std::vector<std::string>& warnings) {
  auto read = read_config(file);
  if (!read) {
    if (read.error().code != ErrorCode::not_found) {
      warnings.push_back(fmt::format("{}; the file is not used", read.error().message));
    }
    return {};
  }
  std::move(read->warnings.begin(), read->warnings.end(), std::back_inserter(warnings));
  std::map<std::int64_t, TileConfig> tiles;
  for (const auto& [batch, tile] : read->file.tiles) {
    if (const Status status = check_tile(problem, tile, device)) {
      tiles.emplace(batch, tile);
    } else {
      warnings.push_back(
          fmt::format("{}: the tile of batch size {} is not used: {}", file.string(), batch, status.error().message));
    }
  }
  if (tiles.empty()) warnings.push_back(fmt::format("{}: no usable tile; the file is not used", file.string()));
  return tiles;
}

// Of two neighbours lower < rows / top_k < upper the nearer by ratio; the larger at a tie. Compared as products, which
// are exact where logarithms would round.
bool upper_is_nearer(std::int64_t lower, std::int64_t upper, std::int64_t rows, std::int64_t top_k) {
  const auto wide = [](std::int64_t value) { return static_cast<long double>(value); };
  return wide(lower) * wide(upper) * wide(top_k) * wide(top_k) <= wide(rows) * wide(rows);
}

struct ModelShape {
  std::string_view projection;
  std::int64_t intermediate;
};

// Which projection of a model with this hidden size has the problem's N and K.
std::optional<ModelShape> model_shape(const Problem& problem) {
  const std::int64_t hidden = hidden_size_of(problem);
  if (problem.k == hidden && problem.n % 2 == 0) return ModelShape{"gate_up", problem.n / 2};
  if (problem.n == hidden) return ModelShape{"down", problem.k};
  return std::nullopt;
}

}  // namespace

LookUp look_up(const std::vector<fs::path>& directories, const DeviceInfo& device, const Problem& problem) {
  LookUp found;
  found.wanted = config_path(directories.front(), device.name, problem);
  for (const Match match : {Match::exact, Match::other_shape, Match::other_device}) {
    for (const fs::path& directory : directories) {
      const fs::path file = match == Match::exact         ? config_path(directory, device.name, problem)
                            : match == Match::other_shape ? directory / device.name / config_file_name(problem)
                                                          : directory / config_file_name(problem);
      found.tiles = usable_tiles(file, device, problem, found.warnings);
      if (found.tiles.empty()) continue;
      found.shape_match = match;
      found.file = file;
      return found;
    }
  }
  use_built_in(found, problem, device);
  return found;
}

void use_built_in(LookUp& found, const Problem& problem, const DeviceInfo& device) {
  found.shape_match = Match::built_in;
  found.file.clear();
  found.tiles.clear();
  found.built_in = std::make_shared<const BuiltInTiles>(problem, device);
}

namespace {

struct Nearest {
  std::map<std::int64_t, TileConfig>::const_iterator entry;
  bool hit = false;  // rows are exactly this batch size's
};

// There is at least one tile.
Nearest nearest_tile(const LookUp& found, const Problem& problem, std::int64_t rows) {
  const std::int64_t top_k = std::max<std::int64_t>(problem.top_k, 1);
  auto nearest = found.tiles.lower_bound(ceil_div(std::max<std::int64_t>(rows, 0), top_k));  // batch * top_k >= rows
  const bool hit = nearest != found.tiles.end() && rows > 0 && rows % top_k == 0 && nearest->first == rows / top_k;
  if (nearest == found.tiles.end()) {
    nearest = std::prev(nearest);
  } else if (!hit && nearest != found.tiles.begin()) {
    const auto lower = std::prev(nearest);
    if (!upper_is_nearer(lower->first, nearest->first, rows, top_k)) nearest = lower;
  }
  return {nearest, hit};
}

}  // namespace

const TileConfig& choose_tile(const LookUp& found, const Problem& problem, std::int64_t rows) {
  if (found.tiles.empty()) return found.built_in->of(rows);
  return nearest_tile(found, problem, rows).entry->second;
}

Selection choose(const LookUp& found, const Problem& problem, std::int64_t rows) {
  if (found.tiles.empty()) {
    return {.tile = choose_tile(found, problem, rows), .match = Match::built_in, .batch = 0, .file = {}};
  }
  const Nearest nearest = nearest_tile(found, problem, rows);
  const bool other_batch = found.shape_match == Match::exact && !nearest.hit;
  return {.tile = nearest.entry->second,
          .match = other_batch ? Match::nearest_batch : found.shape_match,
          .batch = nearest.entry->first,
          .file = found.file};
}

std::string tune_command(const Problem& problem) {
  const std::int64_t hidden = hidden_size_of(problem);
  const auto shape = model_shape(problem);
  if (!shape) {
    return fmt::format(
        "(no command makes this file: expertile tune makes K = hidden size with N even, or N = hidden size; this "
        "problem "
        "has N={}, K={}, hidden size {})",
        problem.n, problem.k, hidden);
  }
  if (problem.top_k > problem.experts) {
    return fmt::format("(no command makes this file: top_k {} is larger than the number of experts {})", problem.top_k,
                       problem.experts);
  }
  std::string command =
      fmt::format("expertile tune --hidden-size {} --num-experts {} --intermediate-size {} --top-k {} --dtype {}",
                  hidden, problem.experts, shape->intermediate, problem.top_k, name(problem.dtype));
  if (problem.block_shape)
    command += fmt::format(" --block-shape {},{}", problem.block_shape->n, problem.block_shape->k);
  if (problem.tf32) command += " --tf32";
  return command + fmt::format(" --projection {}", shape->projection);
}

}  // namespace expertile
