#pragma once
// What `expertile tune`, `bench` and `show` do, for programs: the same options by the same names, the same files, the
// same lines. Errors, notices and warnings are word for word those of the command line.
//
//   const expertile::TuneOption options[] = {{"hidden-size", "2048"}, {"dtype", "bfloat16"}, {"batch-size", "1,16"}};
//   const auto run = expertile::tune(options, {.warning = [](std::string_view line) { std::cerr << line << '\n'; }});
//   if (!run) { std::cerr << run.error().message << '\n'; return expertile::exit_status(run.error()); }

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/error.hpp"
#include "expertile/grouped_gemm.hpp"
#include "expertile/problem.hpp"
#include "expertile/tile_config.hpp"

namespace expertile {

// As on the command line, without dashes in front: {"hidden-size", "2048"}; "hidden_size" is the same. `expertile tune
// --help` lists them. Of one that takes no value there (tf32, isolate, ...): true, yes, 1 or "", or false, no or 0,
// which is as if it were not there. "json" changes nothing here, "quiet" leaves out notices, steps and progress.
struct TuneOption {
  std::string name;
  std::string value;
};

// Where a run stands.
struct TuneProgress {
  std::string_view projection{};  // valid during the callback
  std::int64_t batch = 0;         // the batch size in hand, in tokens
  TileConfig tile{};              // that was just timed; of a batch size that is decided the one that was chosen
  double best_us = 0;             // the shortest time of this batch size so far
  int done = 0;                   // batch sizes of the run that are decided, of all projections
  int all = 0;
  double share_done = 0;    // of the run, from 0 to 1; never falls, and is 1 when the last batch size is decided
  double seconds_left = 0;  // an estimate
};

// One batch size, decided. Times are microseconds a call.
struct TunedBatch {
  std::int64_t batch = 0;         // in tokens
  double rows = 0;                // M, mean over the routing's samples
  TileConfig tile{};              // the chosen one (bench: the one in use)
  double default_us = 0;          // of the built-in tile
  double tuned_us = 0;            // of `tile`
  double ratio = 1;               // default over tuned, of rounds that timed both
  double noise = 0;               // of the time: smaller gains count as none
  double spread = 0;              // of the time: how much single timings vary
  double waited = 0;              // of the time, that a CPU's threads waited for a processor
  double gflops = 0;              // 10^9 operations a second
  double gbps = 0;                // 10^9 bytes a second, of the least that must move
  double ceiling_us = 0;          // what the machine's own limits allow
  Match match = Match::built_in;  // how a call finds `tile` now
  std::string differs{};          // as in Selection
};

struct TunedProjection {
  std::string projection{};  // "gate_up", "up" or "down"
  Problem problem{};
  std::string activation{};           // of the layer, between its products: "silu"
  bool is_gated = true;               // whether the first product is gate and up
  std::filesystem::path file{};       // written (tune) or taken (bench); empty: none
  std::vector<TunedBatch> batches{};  // ascending; those that were decided
};

// All are called on the thread that called the function, between its timings, and must not throw. Any may be empty.
struct TuneEvents {
  std::function<void(std::string_view line)> notice{};   // what was decided for the user
  std::function<void(std::string_view line)> warning{};  // of files that were refused, or a busy machine; never quiet
  std::function<void(std::string_view line)> step{};     // what is done next
  // After each timing, and once after each batch size, when `decided` has been called. Cheap: it is part of the run.
  std::function<void(const TuneProgress&)> progress{};
  // As soon as a batch size is decided, and (tune) is on disk.
  std::function<void(std::string_view projection, const TunedBatch&)> decided{};
  // Asked before and after each timing. Once it says yes, the batch size in hand is given up and the run returns with
  // those that are decided.
  std::function<bool()> stop_requested{};
};

struct TuneRun {
  std::vector<TunedProjection> projections{};
  int batches_wanted = 0;  // of all projections; fewer are there where the run was stopped
  bool stopped = false;
  std::string warning{};  // that the machine was busy, which `warning` was called with, too; else empty
  std::string json{};     // the document that the command prints with --json
};

// Tunes, writing each batch size as soon as it is decided. Takes seconds a batch size. With {"dry-run", ""} it returns
// the files to come, and with {"no-tune", ""} it times the built-in tiles; neither writes anything.
//
// On a CPU all is done in this process, on this thread and those of OpenMP. On a GPU, and with {"isolate", ""}, what is
// measured runs in a process of its own, which is replaced when a kernel hangs or breaks it: a program that is the
// `expertile` tool of this version, or behaves as it. worker_program: the absolute path of that program, and arguments
// that it takes before `tune <options> --worker JOB`; empty: the tool that is installed or was built beside the
// library, an error where there is none. A GPU's own context in this process stays open: see Device.
//
// Any thread may call it at any time, but two runs at once disturb each other's times.
[[nodiscard]] Result<TuneRun> tune(std::span<const TuneOption> options, const TuneEvents& events = {},
                                   const std::vector<std::string>& worker_program = {});

// Times what calls would run with, on the tuner's problems and routings. Writes nothing. Everything runs in this
// process, on a GPU, too.
[[nodiscard]] Result<TuneRun> bench(std::span<const TuneOption> options, const TuneEvents& events = {});

// What a call of one batch size gets.
struct ShownBatch {
  std::int64_t batch = 0;  // in tokens
  std::int64_t rows = 0;   // batch * top_k
  Selection selection{};
};

struct ShownProjection {
  std::string projection{};
  Problem problem{};
  std::string activation{};
  bool is_gated = true;
  std::filesystem::path wanted{};  // the exact file, there or not
  std::filesystem::path file{};    // the one that is taken; empty: none
  std::string command{};           // that would make the exact file; empty where nothing is missing
  std::vector<ShownBatch> batches{};
};

struct Shown {
  std::vector<ShownProjection> projections{};
  std::string json{};  // the document that `expertile show --json` prints
};

// Looks up what GroupedGemm::prepare would find; opens no GPU and times nothing. events: notice and warning.
[[nodiscard]] Result<Shown> show(std::span<const TuneOption> options, const TuneEvents& events = {});

}  // namespace expertile
