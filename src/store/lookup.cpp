#include "store/lookup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "plan/candidates.hpp"
#include "problem/presets.hpp"
#include "store/conditions.hpp"
#include "store/config_file.hpp"

namespace expertile {
namespace {

namespace fs = std::filesystem;

// Where a file may lie, and what that says of it.
struct Place {
  fs::path file;
  Match match = Match::exact;
  std::string scales;  // empty: the place says nothing of them
  std::string differs;
};

// Kinds of scales of the same tensors otherwise, the problem's own first.
std::vector<Scales> kinds_of_scales(const Problem& problem) {
  std::vector<Scales> kinds = {scales_of(problem)};
  for (const Preset& preset : presets()) {
    const bool is_alike =
        preset.dtype == problem.dtype && (preset.scales == Scales::block) == problem.block_shape.has_value();
    if (is_alike && preset.scales != kinds.front()) kinds.push_back(preset.scales);
  }
  return kinds;
}

// In the order in which they are looked at, which is the order of their matches. Older versions kept all kinds of
// scales in the folder of the usual ones, so a file that says what it is may be exact in another one's folder.
std::vector<Place> places(const std::vector<fs::path>& directories, const DeviceInfo& device, const Problem& problem) {
  std::vector<Place> all;
  Problem alike = problem;
  for (const Scales scales : kinds_of_scales(problem)) {
    alike.scales = scales;
    for (const fs::path& directory : directories) {
      all.push_back({config_path(directory, device.name, alike), Match::exact, std::string(name(scales)), {}});
    }
  }
  const std::string file = config_file_name(problem);
  for (const fs::path& directory : directories) {
    all.push_back({directory / device.name / file, Match::other_shape, {}, "the file's place names no shape"});
  }
  for (const fs::path& directory : directories) {
    all.push_back({directory / file, Match::other_device, {}, "the file's place names no shape and no device"});
  }
  return all;
}

FoundTile found_tile(const TileConfig& tile, Metadata said, const Place& place,
                     const std::vector<Condition>& conditions) {
  if (!place.scales.empty()) said.try_emplace("scales", place.scales);
  Difference differs = difference(said, conditions);
  if (!place.differs.empty()) differs.text = place.differs + (differs.text.empty() ? "" : "; ") + differs.text;
  return {tile, std::max(place.match, differs.match), std::move(differs.text)};
}

// The file's tiles that the problem accepts; what stands in the way is noted.
std::map<std::int64_t, FoundTile> usable_tiles(const Place& place, const DeviceInfo& device, const Problem& problem,
                                               std::vector<std::string>& warnings) {
  auto read = read_config(place.file);
  if (!read) {
    if (read.error().code != ErrorCode::not_found) {
      warnings.push_back(fmt::format("{}; the file is not used", read.error().message));
    }
    return {};
  }
  std::move(read->warnings.begin(), read->warnings.end(), std::back_inserter(warnings));
  const std::vector<Condition> conditions = conditions_of(problem, device);
  std::map<std::int64_t, FoundTile> tiles;
  for (const auto& [batch, tile] : read->file.tiles) {
    if (const Status status = check_tile(problem, tile, device)) {
      tiles.emplace(batch, found_tile(tile, said_of(read->file, batch), place, conditions));
    } else {
      warnings.push_back(fmt::format("{}: the tile of batch size {} is not used: {}", place.file.string(), batch,
                                     status.error().message));
    }
  }
  if (tiles.empty()) warnings.push_back(fmt::format("{}: no usable tile; the file is not used", place.file.string()));
  return tiles;
}

// There is at least one.
std::pair<const FoundTile*, const FoundTile*> best_and_worst(const std::map<std::int64_t, FoundTile>& tiles) {
  const auto by_match = [](const auto& a, const auto& b) { return a.second.match < b.second.match; };
  const auto [best, worst] = std::minmax_element(tiles.begin(), tiles.end(), by_match);
  return {&best->second, &worst->second};
}

// Of two neighbours lower < rows / top_k < upper the nearer by ratio; the larger at a tie. Compared as products, which
// are exact where logarithms would round.
bool upper_is_nearer(std::int64_t lower, std::int64_t upper, std::int64_t rows, std::int64_t top_k) {
  const auto wide = [](std::int64_t value) { return static_cast<long double>(value); };
  return wide(lower) * wide(upper) * wide(top_k) * wide(top_k) <= wide(rows) * wide(rows);
}

}  // namespace

LookUp look_up(const std::vector<fs::path>& directories, const DeviceInfo& device, const Problem& problem) {
  LookUp found;
  found.directory = directories.front();
  found.wanted = config_path(found.directory, device.name, problem);
  Match best = Match::built_in;
  for (const Place& place : places(directories, device, problem)) {
    if (place.match >= best) break;  // and so no later place has a better one
    auto tiles = usable_tiles(place, device, problem, found.warnings);
    if (tiles.empty() || best_and_worst(tiles).first->match >= best) continue;
    best = best_and_worst(tiles).first->match;
    found.place = place.match;
    found.file = place.file;
    found.tiles = std::move(tiles);
  }
  if (found.tiles.empty()) use_built_in(found, problem, device);
  return found;
}

void use_built_in(LookUp& found, const Problem& problem, const DeviceInfo& device) {
  found.place = Match::built_in;
  found.file.clear();
  found.tiles.clear();
  found.built_in = std::make_shared<const BuiltInTiles>(problem, device);
}

namespace {

struct Nearest {
  std::map<std::int64_t, FoundTile>::const_iterator entry;
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
  return nearest_tile(found, problem, rows).entry->second.tile;
}

Selection choose(const LookUp& found, const Problem& problem, std::int64_t rows) {
  if (found.tiles.empty()) {
    return {.tile = choose_tile(found, problem, rows), .match = Match::built_in, .batch = 0, .file = {}, .differs = {}};
  }
  const Nearest nearest = nearest_tile(found, problem, rows);
  const auto& [batch, one] = *nearest.entry;
  return {.tile = one.tile,
          .match = one.match == Match::exact && !nearest.hit ? Match::nearest_batch : one.match,
          .batch = batch,
          .file = found.file,
          .differs = one.differs};
}

std::string missing_line(const LookUp& found, const std::string& command) {
  const std::string wanted = found.wanted.string();
  if (found.tiles.empty()) {
    return fmt::format("no tuned configuration at {}; using built_in; to make it: {}", wanted, command);
  }
  const FoundTile& worst = *best_and_worst(found.tiles).second;
  if (worst.match == Match::exact) return {};
  if (found.file != found.wanted) {
    return fmt::format("no tuned configuration at {}; using {} from {} ({}); to make it: {}", wanted, name(worst.match),
                       found.file.string(), worst.differs, command);
  }
  const auto others =
      std::ranges::count_if(found.tiles, [](const auto& one) { return one.second.match != Match::exact; });
  return fmt::format("{} of {} batch sizes of {} were tuned for something else; using {} ({}); to make them: {}",
                     others, found.tiles.size(), wanted, name(worst.match), worst.differs, command);
}

}  // namespace expertile
