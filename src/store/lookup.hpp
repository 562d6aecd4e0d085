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

// What was found for a problem on a device, ready to choose from without touching a file.
struct LookUp {
  Match shape_match = Match::built_in;           // exact, other_shape, other_device or built_in
  std::filesystem::path wanted;                  // the exact file's path, there or not
  std::filesystem::path file;                    // the one that was taken; empty for built_in
  std::map<std::int64_t, TileConfig> tiles;      // usable ones only (check_tile passed)
  std::shared_ptr<const BuiltInTiles> built_in;  // where there are no tiles; none is worked out where there are
  std::vector<std::string> warnings;             // files that were refused and why; tiles refused and why; unknown keys
};

// directories: the user's first, whose exact file is the wanted one, then those of installed packages. A better match
// in a later directory goes before a worse one in an earlier directory.
[[nodiscard]] LookUp look_up(const std::vector<std::filesystem::path>& directories, const DeviceInfo& device,
                             const Problem& problem);
// Of a file whose tiles cannot be used: the built-in ones take their place.
void use_built_in(LookUp& found, const Problem& problem, const DeviceInfo& device);
// Nearest tuned batch size to rows / top_k on a log scale (ties: the larger); built-in heuristic when there are none.
[[nodiscard]] Selection choose(const LookUp& found, const Problem& problem, std::int64_t rows);
// The same tile alone, without a single allocation: for every call.
[[nodiscard]] const TileConfig& choose_tile(const LookUp& found, const Problem& problem, std::int64_t rows);
// The command that would make the wanted file.
[[nodiscard]] std::string tune_command(const Problem& problem);

}  // namespace expertile
