#pragma once
// One function a subcommand; each returns the exit status of a run without an error.

#include "cli/options.hpp"

namespace expertile::cli {

[[nodiscard]] Result<int> run_tune(const TextOptions& text);
[[nodiscard]] Result<int> run_bench(const TextOptions& text);
[[nodiscard]] Result<int> run_show(const TextOptions& text);
[[nodiscard]] Result<int> run_info(const TextOptions& text);

}  // namespace expertile::cli
