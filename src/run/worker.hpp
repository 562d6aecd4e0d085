#pragma once
// Measuring in a process of its own. A kernel that hangs, or breaks the process or its GPU context, costs that process;
// another one goes on with the other tiles.

#include <string>
#include <vector>

#include "run/options.hpp"
#include "tune/tuner.hpp"

namespace expertile::run {

// The measuring process itself: does job `text.worker`. say: takes lines, to be written on standard output at once,
// since the watcher knows from each what is in hand. Returns the exit status.
[[nodiscard]] Result<int> run_worker(const TextOptions& text, const std::function<bool()>& is_stopped,
                                     const std::function<void(std::string_view line)>& say);

struct WorkerPlan {
  std::vector<std::string> program;  // and its arguments; --worker JOB is added
  std::size_t problem = 0;
  std::vector<std::int64_t> batches;
  double most_silent_seconds = 120;  // compiling the candidates counts, on a small machine
  int most_replacements = 8;
};

// Tunes by such processes. callbacks: progress, decided and is_stopped of `options` are called here, as tune() would; a
// process that is at work when a stop is wanted is ended.
// ceiling: set once the first process has measured it, before the first batch size is decided.
[[nodiscard]] Status tune_in_workers(const WorkerPlan& plan, const TuneOptions& options,
                                     std::optional<Ceiling>& ceiling);

}  // namespace expertile::run
