#pragma once
// The configuration file: names, reading, writing. JSON stays inside the .cpp.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/problem.hpp"
#include "expertile/tile_config.hpp"

namespace expertile {

inline constexpr int kConfigSchema = 1;

// grouped_gemm_config_{hidden_size}_{dtype}{_block{n}x{k}}.json; dtype is tf32 where the problem says so
[[nodiscard]] std::string config_file_name(const Problem& problem);
// given, else $EXPERTILE_CONFIG_DIR, else <user data directory>/expertile/configs
[[nodiscard]] std::filesystem::path config_directory(const std::filesystem::path& given);
// config_directory(given), then expertile/configs in each of $XDG_DATA_DIRS and where this build installs its data: the
// files that installed packages brought.
[[nodiscard]] std::vector<std::filesystem::path> config_directories(const std::filesystem::path& given);
// <config dir>/<device>/E=..,N=..,K=../<file name>; the folder is E=..,N=..,K=..,scales=<name> where the scales are not
// the dtype's usual ones.
[[nodiscard]] std::filesystem::path config_path(const std::filesystem::path& config_dir, std::string_view device,
                                                const Problem& problem);

// Where a GPU's compiled kernels for a configuration file's tiles are: beside it.
[[nodiscard]] std::filesystem::path kernel_directory(const std::filesystem::path& config_file);

using Metadata = std::map<std::string, std::string>;  // flat text: device, routing, version, date, ...

struct ConfigFile {
  std::map<std::int64_t, TileConfig> tiles;  // by batch size
  Metadata metadata;                         // of the latest run
  // What batch sizes of earlier runs say otherwise; "" where they say nothing. Only of batch sizes that have a tile.
  std::map<std::int64_t, Metadata> batches;
  std::string unknown;  // JSON text of keys this version does not know; written back as it was
};

// What one batch size says of itself.
[[nodiscard]] Metadata said_of(const ConfigFile& file, std::int64_t batch);

struct ReadConfig {
  ConfigFile file;
  std::vector<std::string> warnings;  // unknown keys, by name
};

// text is hostile: size, depth, numbers. An error is one line that names origin, the key and the value.
[[nodiscard]] Result<ReadConfig> parse_config(std::string_view text, std::string_view origin);
// not_found when there is no such file.
[[nodiscard]] Result<ReadConfig> read_config(const std::filesystem::path& path);
[[nodiscard]] std::string to_text(const ConfigFile& file);

// Reads what is there, puts `tiles` and `metadata` over it (other batch sizes and unknown keys survive, and what they
// say of themselves stays the same), writes it whole. Safe between processes (a lock file). A damaged existing file is
// not overwritten: that is an error that says so.
[[nodiscard]] Status merge_into(const std::filesystem::path& path, const std::map<std::int64_t, TileConfig>& tiles,
                                const Metadata& metadata);

}  // namespace expertile
