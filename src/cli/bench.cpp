// expertile bench: times what a call would run with.

#include <fmt/format.h>

#include "cli/commands.hpp"
#include "cli/progress.hpp"
#include "report/table.hpp"
#include "run/run.hpp"

namespace expertile::cli {

Result<int> run_bench(const run::TextOptions& text) {
  Progress progress(stderr_is_terminal(), text.quiet);
  const auto timed = run::bench(text, events_for(progress));
  progress.end();
  if (!timed) return fail(timed.error());
  fmt::print("{}", text.json ? timed->json : results_table(timed->reports));
  return 0;
}

}  // namespace expertile::cli
