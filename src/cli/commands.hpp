#pragma once
// One function a subcommand; each returns the exit status of a run without an error.

#include "run/options.hpp"

namespace expertile::cli {

[[nodiscard]] Result<int> run_tune(const run::TextOptions& text);
[[nodiscard]] Result<int> run_bench(const run::TextOptions& text);
[[nodiscard]] Result<int> run_show(const run::TextOptions& text);
[[nodiscard]] Result<int> run_info(const run::TextOptions& text);

}  // namespace expertile::cli
