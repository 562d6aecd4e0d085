#pragma once
// Which file, which tile, which kind of match. Reads files; the choice by rows afterwards reads none.

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "expertile/device.hpp"
#include "expertile/grouped_gemm.hpp"
#include "plan/built_in_tiles.hpp"

namespace expertile {

struct FoundTile {
  TileConfig tile;
  Match match = Match::exact;  // of a call with this very batch size
  std::string differs;         // as in Selection
};

// What was found for a problem on a device, ready to choose from without touching a file.
struct LookUp {
  Match place = Match::built_in;                 // by the file's place: exact, other_shape, other_device or built_in
  std::filesystem::path directory;               // of the wanted file: the user's
  std::filesystem::path wanted;                  // the exact file's path, there or not
  std::filesystem::path file;                    // the one that was taken; empty for built_in
  std::map<std::int64_t, FoundTile> tiles;       // usable ones only (check_tile passed)
  std::shared_ptr<const BuiltInTiles> built_in;  // where there are no tiles; none is worked out where there are
  std::vector<std::string> warnings;             // files that were refused and why; tiles refused and why; unknown keys
};

// directories: the user's first, whose exact file is the wanted one, then those of installed packages. A file counts as
// its best tile. A better match in a later directory goes before a worse one in an earlier directory.
[[nodiscard]] LookUp look_up(const std::vector<std::filesystem::path>& directories, const DeviceInfo& device,
                             const Problem& problem);
// Of a file whose tiles cannot be used: the built-in ones take their place.
void use_built_in(LookUp& found, const Problem& problem, const DeviceInfo& device);
// Nearest tuned batch size to rows / top_k on a log scale (ties: the larger), whatever else it was tuned for; built-in
// heuristic when there are none.
[[nodiscard]] Selection choose(const LookUp& found, const Problem& problem, std::int64_t rows);
// The same tile alone, without a single allocation: for every call.
[[nodiscard]] const TileConfig& choose_tile(const LookUp& found, const Problem& problem, std::int64_t rows);
// The line for a log: what is used instead of the wanted file, or of some of its tiles, and `command`, which would make
// it. Empty where all tiles are exact.
[[nodiscard]] std::string missing_line(const LookUp& found, const std::string& command);

}  // namespace expertile
