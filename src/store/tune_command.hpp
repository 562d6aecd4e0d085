#pragma once
// The command that makes the file that was looked for.

#include <filesystem>
#include <string>

#include "expertile/problem.hpp"

namespace expertile {

// Where and on what: as the program that looked for the file was told.
struct TuneTarget {
  std::filesystem::path config_dir{};  // the file's; empty: the one that the command takes by itself
  std::string device = "auto";
  int threads = 0;
};

// `expertile tune` with every option that it takes, for a shell; or, in brackets, why no command makes the file.
[[nodiscard]] std::string tune_command(const Problem& problem, const TuneTarget& target = {});

}  // namespace expertile
