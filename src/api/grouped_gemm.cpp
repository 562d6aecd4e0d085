// Look up once, bind to a device, call many times.

#include "expertile/grouped_gemm.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "api/grouped_gemm_state.hpp"
#include "plan/candidates.hpp"
#include "plan/distinct.hpp"
#include "problem/groups.hpp"
#include "problem/sizes.hpp"
#include "process/fork.hpp"
#include "store/config_file.hpp"
#include "store/tune_command.hpp"

namespace expertile {
namespace {

constexpr const char* kLoggerName = "expertile";

// Logs a line whose key this process has not seen. A program that registers its own logger "expertile" gets the lines
// there; otherwise they go to standard error, because standard output belongs to the program.
void log_once(const std::string& key, spdlog::level::level_enum level, const std::string& line) {
  struct Seen {
    std::mutex mutex;
    std::set<std::string> keys;
  };
  static constinit PerProcess<Seen> seen;
  {
    const std::lock_guard guard(seen.get().mutex);
    if (!seen.get().keys.insert(key).second) return;
  }
  const ForeignLocks of_spdlog;
  if (!of_spdlog.can_be_had()) return;  // a line less, where waiting for it could last for ever
  try {
    auto logger = spdlog::get(kLoggerName);
    if (!logger) logger = spdlog::stderr_logger_mt(kLoggerName);
    logger->log(level, spdlog::string_view_t(line.data(), line.size()));
    logger->flush();
  } catch (const std::exception&) {
    // A line that cannot be logged is no reason to refuse the work.
  }
}

void log_look_up(const LookUp& found, const Problem& problem, const PrepareOptions& options) {
  for (const std::string& warning : found.warnings) log_once(warning, spdlog::level::warn, warning);
  const TuneTarget target{.config_dir = found.directory, .device = options.device, .threads = options.threads};
  const std::string line = missing_line(found, tune_command(problem, target));
  if (line.empty()) return;
  const std::string key = fmt::format("{} top_k={}", found.wanted.string(), problem.top_k);
  log_once(key, spdlog::level::info, line);
}

}  // namespace

std::string_view name(Match match) noexcept {
  switch (match) {
    case Match::exact:
      return "exact";
    case Match::nearest_batch:
      return "nearest_batch";
    case Match::other_top_k:
      return "other_top_k";
    case Match::other_threads:
      return "other_threads";
    case Match::other_scales:
      return "other_scales";
    case Match::other_instructions:
      return "other_instructions";
    case Match::other_shape:
      return "other_shape";
    case Match::other_device:
      return "other_device";
    case Match::built_in:
      break;
  }
  return "built_in";
}

Result<const CallPlan*> GroupedGemm::State::plan_for(std::int64_t rows) const {
  const CallPlan* plan = plan_of(choose_tile(found, problem, rows));
  if (plan != nullptr) return plan;
  return fail(ErrorCode::internal, fmt::format("no tile was prepared for {} rows", rows));
}

namespace {

// Those of the calls to come; an error where C cannot be of that type.
Result<std::vector<CallTypes>> wanted_types(const Problem& problem, const PrepareOptions& options) {
  const std::optional<ElementType> c_type = options.c_type;
  std::vector<CallTypes> types = call_types(problem, options.row_layout);
  if (!c_type) return types;
  std::set<std::string_view> known;
  for (const CallTypes& one : types) known.insert(name(one.c));
  std::erase_if(types, [&](const CallTypes& one) { return one.c != *c_type; });
  if (!types.empty()) return types;
  return fail(ErrorCode::invalid_argument,
              fmt::format("C cannot be {}, of this problem it can be {}", name(*c_type), fmt::join(known, ", ")));
}

// A plan a tile, or why there is none. Where there are kernels for the usual types alone (the tuning was stopped, and
// there is no NVRTC), a tile is used, and a warning says which calls fail.
std::vector<Result<SharedPlan>> plan_tiles(const Backend& backend, const Problem& problem,
                                           const std::vector<TileConfig>& tiles, const std::vector<CallTypes>& types,
                                           std::vector<std::string>& warnings) {
  if (tiles.empty()) return {};
  std::vector<Result<SharedPlan>> plans = backend.plan(problem, tiles, types, SlowKernels::refused);
  CallTypes usual = usual_types(problem);
  usual.rows = types.front().rows;
  const bool is_whole = std::all_of(plans.begin(), plans.end(), [](const auto& one) { return one.has_value(); });
  if (is_whole || types.size() == 1 || std::find(types.begin(), types.end(), usual) == types.end()) return plans;
  const std::vector<Result<SharedPlan>> of_usual = backend.plan(problem, tiles, {usual}, SlowKernels::refused);
  std::string missing;  // why the first of the tiles has no kernel for the others
  for (std::size_t i = 0; i < tiles.size(); ++i) {
    if (plans[i] || !of_usual[i]) continue;
    if (missing.empty()) missing = plans[i].error().message;
    plans[i] = of_usual[i];
  }
  if (!missing.empty()) {
    warnings.push_back(
        fmt::format("only calls with A in {} and C in {} have a kernel: {}", name(usual.a), name(usual.c), missing));
  }
  return plans;
}

// The plans of every tile that a call may choose. A tile of the file that cannot run is dropped with a warning; the
// built-in ones are needed only where none of the file is left, and then a slow kernel is better than none.
Result<std::vector<SharedPlan>> make_plans(const Backend& backend, const Problem& problem,
                                           const std::vector<CallTypes>& types, LookUp& found) {
  if (!found.file.empty()) backend.use_kernels(kernel_directory(found.file));
  std::vector<TileConfig> tiles;
  for (const auto& entry : found.tiles) add_once(tiles, entry.second.tile);
  const auto of_file = plan_tiles(backend, problem, tiles, types, found.warnings);
  std::vector<SharedPlan> plans;
  for (const auto& plan : of_file) {
    if (plan) plans.push_back(*plan);
  }
  for (auto entry = found.tiles.begin(); entry != found.tiles.end();) {
    const auto& plan = of_file[static_cast<std::size_t>(std::ranges::find(tiles, entry->second.tile) - tiles.begin())];
    if (plan) {
      ++entry;
      continue;
    }
    found.warnings.push_back(fmt::format("{}: the tile of batch size {} is not used: {}", found.file.string(),
                                         entry->first, plan.error().message));
    entry = found.tiles.erase(entry);
  }
  if (!found.tiles.empty()) return plans;
  if (!found.built_in) use_built_in(found, problem, backend.info());
  for (const auto& plan : backend.plan(problem, found.built_in->all(), types, SlowKernels::taken)) {
    if (!plan) return fail(plan.error());
    plans.push_back(*plan);
  }
  return plans;
}

}  // namespace

GroupedGemm::GroupedGemm(std::shared_ptr<const State> state) : state_(std::move(state)) {}

Result<GroupedGemm> GroupedGemm::prepare(const Problem& problem, const PrepareOptions& options) {
  if (auto status = validate(problem); !status) return fail(status.error());
  const auto types = wanted_types(problem, options);
  if (!types) return fail(types.error());
  const auto backend = open_backend(options.device, options.threads);
  if (!backend) return fail(backend.error());
  LookUp found = look_up(config_directories(options.config_dir), (*backend)->info(), problem);
  auto plans = make_plans(**backend, problem, *types, found);
  if (!plans) return fail(plans.error());
  log_look_up(found, problem, options);
  return GroupedGemm(std::make_shared<const State>(State{problem, CallShapes(problem, options.row_layout), *backend,
                                                         std::move(found), std::move(*plans), options.c_type}));
}

Selection GroupedGemm::selection(std::int64_t rows) const {
  return choose(state_->found, state_->problem, std::max<std::int64_t>(rows, 0));
}

Status GroupedGemm::operator()(const GroupedGemmArgs& args) const {
  const Backend& backend = *state_->backend;
  const bool on_host = !backend.info().is_gpu();
  if (auto status = state_->shapes.check(args); !status) return status;
  if (state_->c_type && args.c.type != *state_->c_type) {
    return fail(ErrorCode::invalid_argument, fmt::format("C is {}, the operation was prepared for C in {}",
                                                         name(args.c.type), name(*state_->c_type)));
  }
  if (auto status = on_host ? validate_routing(state_->problem, args) : backend.check_pointers(args); !status) {
    return status;
  }
  const std::int64_t rows = args.expected_rows > 0 ? args.expected_rows : on_host ? rows_of_groups(args) : args.a.rows;
  const auto plan = state_->plan_for(rows);
  if (!plan) return fail(plan.error());
  try {
    return backend.run(**plan, args);
  } catch (const std::exception& error) {
    return fail(ErrorCode::internal, fmt::format("the grouped GEMM failed: {}", error.what()));
  }
}

std::size_t GroupedGemm::workspace_bytes(std::int64_t rows) const noexcept {
  return state_->backend->workspace_bytes(state_->problem, std::max<std::int64_t>(rows, 0));
}

const Problem& GroupedGemm::problem() const noexcept { return state_->problem; }

const std::filesystem::path& GroupedGemm::wanted_file() const noexcept { return state_->found.wanted; }

}  // namespace expertile
