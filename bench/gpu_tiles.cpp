// Looks at tiles of the GPU families one by one, where the tuner sees the model's first few: with a GPU it times them
// beside what the cost model thinks of them, without one it compiles them and shows what the assembler says.
//
//   build/release/bench/bench_gpu_tiles --n 28672 --k 4096 --dtype bfloat16 --batch 4096 --where kernel=2,SWAP_AB=0
//   build/release/bench/bench_gpu_tiles --dtype fp8_w8a8 --block-shape 128,128 --batch 64 --compile sm_90a --cubins DIR

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "backend/backend.hpp"
#include "jit/compile_all.hpp"
#include "jit/kernel_source.hpp"
#include "plan/candidates.hpp"
#include "plan/family.hpp"
#include "plan/kernel_plan.hpp"
#include "problem/routing.hpp"
#include "problem/sizes.hpp"
#include "store/config_file.hpp"
#include "tune/statistics.hpp"
#include "tune/tensors.hpp"
#include "tune/verify.hpp"

namespace {

using namespace expertile;

constexpr int kSamples = 4;
constexpr int kRounds = 3;
constexpr std::size_t kMostCopies = 8;

struct Wishes {
  std::string dtype = "bfloat16";
  std::string block_shape;
  std::string scales;
  std::string routing = "uniform";
  std::string where;               // "SWAP_AB=1,num_warps=8"
  std::vector<std::string> tiles;  // likewise, each a whole tile; else the grid's
  std::string arch;                // compiles for it, and times nothing
  std::filesystem::path cubins;    // where the compiled kernels are left
  std::int64_t batch = 16;
  std::size_t most = 40;
  double load = 0;
  bool verifies = false;
  Problem problem;
};

struct Setting {
  std::string key;
  int value = 0;
};

Result<std::vector<Setting>> parse_settings(std::string_view text) {
  std::vector<Setting> all;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    const auto equals = one.find('=');
    Setting setting{std::string(one.substr(0, equals)), 0};
    const char* end = one.data() + one.size();
    const bool has_value = equals != std::string_view::npos;
    if (!has_value || std::from_chars(one.data() + equals + 1, end, setting.value).ptr != end) {
      return fail(ErrorCode::invalid_argument, fmt::format("'{}' is not KEY=NUMBER", one));
    }
    all.push_back(std::move(setting));
  }
  return all;
}

// The tile's number by the file's key; "kernel" is the family's.
std::optional<int> number_of(const TileConfig& tile, const std::string& key) {
  if (key == "kernel") return static_cast<int>(tile.kernel);
  if (const TileField* field = find_field(key)) return tile.*field->member;
  return std::nullopt;
}

bool matches(const TileConfig& tile, const std::vector<Setting>& where) {
  return std::all_of(where.begin(), where.end(),
                     [&](const Setting& one) { return number_of(tile, one.key).value_or(one.value) == one.value; });
}

Result<TileConfig> parse_tile(const std::string& text) {
  const auto settings = parse_settings(text);
  if (!settings) return fail(settings.error());
  TileConfig tile;
  tile.kernel = KernelFamily::sm90;
  for (const Setting& one : *settings) {
    if (one.key == "kernel") tile.kernel = static_cast<KernelFamily>(one.value);
  }
  for (const Setting& one : *settings) {
    const TileField* field = find_field(one.key);
    if (field != nullptr) {
      tile.*field->member = one.value;
    } else if (one.key != "kernel") {
      return fail(ErrorCode::invalid_argument, fmt::format("a tile has no '{}'", one.key));
    }
  }
  return tile;
}

struct Candidate {
  TileConfig tile;
  double estimated_us = 0;
  std::string refused;
  std::vector<double> times_us;
};

// The grid's tiles that the planner allows, or those that were named, the model's best first.
Result<std::vector<Candidate>> choose_tiles(const Wishes& wishes, std::int64_t rows, double active,
                                            const DeviceInfo& device) {
  const auto where = parse_settings(wishes.where);
  if (!where) return fail(where.error());
  std::vector<Candidate> chosen;
  const auto add = [&](const TileConfig& tile) {
    const double seconds = functions_of(tile.kernel).estimate_seconds(wishes.problem, tile, rows, active, device);
    chosen.push_back({tile, 1e6 * seconds, {}, {}});
  };
  for (const std::string& text : wishes.tiles) {
    const auto tile = parse_tile(text);
    if (!tile) return fail(tile.error());
    if (auto status = check_tile(wishes.problem, *tile, device); !status) {
      fmt::print(stderr, "left out: {}\n", status.error().message);
      continue;
    }
    add(*tile);
  }
  const double rows_a_group = static_cast<double>(rows) / std::max(active, 1.0);
  const auto add_grid = [&](const Family& family) {
    for (const TileConfig& tile : family.grid(wishes.problem)) {
      if (!matches(tile, *where)) continue;
      if (family.refuse(wishes.problem, tile, rows_a_group, active, device).rule.empty()) add(tile);
    }
  };
  if (wishes.tiles.empty()) {
    for (const KernelFamily family : families_of(wishes.problem, device)) add_grid(functions_of(family));
  }
  std::stable_sort(chosen.begin(), chosen.end(),
                   [](const Candidate& a, const Candidate& b) { return a.estimated_us < b.estimated_us; });
  if (chosen.size() > wishes.most) chosen.resize(wishes.most);
  return chosen;
}

std::string spelled(const TileConfig& tile) {
  std::string text;
  for (const auto& [name, value] : tile_numbers(tile)) text += fmt::format("{}={} ", name, value);
  return text;
}

// ---- without a GPU ------------------------------------------------------------------------------------------------

DeviceInfo hopper(const std::string& arch) {
  GpuInfo gpu;
  gpu.compute_capability = 90;
  gpu.multiprocessors = 132;
  gpu.shared_bytes_per_block = 227 << 10;
  gpu.l2_bytes = 50 << 20;
  return {arch, gpu, 0, {}};
}

Status compile(const Wishes& wishes, const std::vector<Candidate>& chosen) {
  const auto nvrtc = jit::Nvrtc::open();
  if (!nvrtc) return fail(nvrtc.error());
  std::vector<jit::CompileRequest> requests;
  for (const Candidate& one : chosen) {
    const KernelSpec spec = make_spec(wishes.problem, one.tile, usual_types(wishes.problem), true);
    requests.push_back(jit::kernel_request(jit::kernel_source(spec), wishes.arch));
  }
  const auto cubins = jit::compile_all(&*nvrtc, {}, requests, static_cast<int>(std::thread::hardware_concurrency()));
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const Candidate& one = chosen[i];
    std::string verdict = cubins[i] ? "" : cubins[i].error().message;
    if (cubins[i]) {
      const auto status = jit::refuse_if_slow(cubins[i]->resources);
      verdict = fmt::format("{} registers{}", cubins[i]->resources.registers,
                            status ? "" : ", refused: " + status.error().message);
    }
    if (cubins[i] && !wishes.cubins.empty()) {
      std::ofstream(wishes.cubins / fmt::format("{}.cubin", i), std::ios::binary)
          .write(cubins[i]->image.data(), static_cast<std::streamsize>(cubins[i]->image.size()));
    }
    fmt::print("{:3} {:9.1f} us estimated  {}: {}\n", i, one.estimated_us, spelled(one.tile), verdict);
  }
  return {};
}

// ---- with a GPU ---------------------------------------------------------------------------------------------------

// Where power is the limit, it shows after a while alone.
Result<double> time_under_load(const Backend& backend, const CallPlan& plan, const std::vector<GroupedGemmArgs>& calls,
                               double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  for (;;) {
    const bool is_loaded = std::chrono::duration<double>(Clock::now() - begin).count() >= seconds;
    auto us = backend.time_us(plan, calls, Calls::in_a_graph);
    if (!us || is_loaded) return us;
  }
}

Status time_tiles(const Wishes& wishes, const Backend& backend, const std::vector<RoutingSample>& samples,
                  std::vector<Candidate>& chosen) {
  const Problem& problem = wishes.problem;
  std::vector<PlacedRouting> routings;
  std::int64_t most_rows = 1;
  for (const RoutingSample& sample : samples) {
    most_rows = std::max(most_rows, sample.rows());
    auto placed = PlacedRouting::make(backend, sample);
    if (!placed) return fail(placed.error());
    routings.push_back(std::move(*placed));
  }
  const double touched = bytes_moved(problem, 0, static_cast<double>(samples.front().active_groups()));
  const double wanted = std::ceil(3.0 * static_cast<double>(last_cache_bytes(backend.info())) / touched);
  std::vector<Tensors> tensors;
  for (std::size_t i = 0; i < std::clamp<std::size_t>(static_cast<std::size_t>(wanted), 1, kMostCopies); ++i) {
    auto made = Tensors::make(backend, problem, most_rows, 0);
    if (!made) return fail(made.error());
    tensors.push_back(std::move(*made));
  }
  std::vector<TileConfig> tiles;
  tiles.reserve(chosen.size());
  for (const Candidate& one : chosen) tiles.push_back(one.tile);
  const auto plans = backend.plan(problem, tiles, {usual_types(problem)}, SlowKernels::refused);
  Verification verification(backend, problem);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (!plans[i]) chosen[i].refused = plans[i].error().message;
    if (!plans[i] || !wishes.verifies) continue;
    const auto error = verification.error_over_bound(chosen[i].tile);
    if (!error || *error > 1) chosen[i].refused = error ? fmt::format("wrong: {:.3g}", *error) : error.error().message;
  }
  for (std::size_t round = 0, calls_made = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      if (!chosen[i].refused.empty()) continue;
      std::vector<GroupedGemmArgs> calls;
      for (std::size_t c = 0; c < backend.calls_a_timing(); ++c, ++calls_made) {
        const PlacedRouting& routing = routings[c % routings.size()];
        calls.push_back(tensors[calls_made % tensors.size()].args(routing, routing.rows()));
      }
      const auto us = time_under_load(backend, **plans[i], calls, wishes.load);
      if (!us) return fail(us.error());
      chosen[i].times_us.push_back(*us);
    }
  }
  std::stable_sort(chosen.begin(), chosen.end(), [](const Candidate& a, const Candidate& b) {
    if (a.refused.empty() != b.refused.empty()) return a.refused.empty();
    return median_of(a.times_us) < median_of(b.times_us);
  });
  return {};
}

void print_times(const Wishes& wishes, const std::vector<Candidate>& chosen, double rows, double active) {
  const double operations = 2 * rows * static_cast<double>(wishes.problem.n) * static_cast<double>(wishes.problem.k);
  const double bytes = bytes_moved(wishes.problem, rows, active);
  fmt::print("E={} N={} K={} {} batch {}: {:.0f} rows of {:.0f} groups\n", wishes.problem.experts, wishes.problem.n,
             wishes.problem.k, wishes.dtype, wishes.batch, rows, active);
  for (const Candidate& one : chosen) {
    const double us = median_of(one.times_us);
    if (!one.refused.empty()) {
      fmt::print("        refused            {}: {}\n", spelled(one.tile), one.refused);
    } else {
      fmt::print("{:9.1f} us ({:9.1f} estimated) {:7.1f} TFLOP/s {:6.2f} TB/s  {}\n", us, one.estimated_us,
                 operations / us * 1e-6, bytes / us * 1e-6, spelled(one.tile));
    }
  }
}

Result<std::pair<std::int64_t, std::int64_t>> parse_block(const std::string& text) {
  std::pair<std::int64_t, std::int64_t> block{};
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, block.first);
  if (first.ptr == end || *first.ptr != ',' || std::from_chars(first.ptr + 1, end, block.second).ptr != end) {
    return fail(ErrorCode::invalid_argument, fmt::format("block shape '{}' is not N,K", text));
  }
  return block;
}

Status run(Wishes& wishes) {
  const auto dtype = parse_dtype(wishes.dtype);
  if (!dtype) return fail(dtype.error());
  wishes.problem.dtype = *dtype;
  if (!wishes.block_shape.empty()) {
    const auto block = parse_block(wishes.block_shape);
    if (!block) return fail(block.error());
    wishes.problem.block_shape = BlockShape{block->first, block->second};
  }
  if (!wishes.scales.empty()) {
    if (wishes.scales != "per_token_channel") return fail(ErrorCode::invalid_argument, "--scales: per_token_channel");
    wishes.problem.scales = Scales::per_token_channel;
  }
  if (auto status = validate(wishes.problem); !status) return status;
  const auto routing = parse_routing(wishes.routing, 0);
  if (!routing) return fail(routing.error());
  const auto samples = routing_samples(*routing, wishes.problem.experts, wishes.problem.top_k, wishes.batch, kSamples);
  if (!samples) return fail(samples.error());
  double rows = 0;
  double active = 0;
  for (const RoutingSample& sample : *samples) {
    rows += static_cast<double>(sample.rows()) / static_cast<double>(samples->size());
    active += static_cast<double>(sample.active_groups()) / static_cast<double>(samples->size());
  }
  std::shared_ptr<const Backend> backend;
  if (wishes.arch.empty()) {
    auto made = open_backend("cuda");
    if (!made) return fail(made.error());
    backend = *made;
  }
  auto chosen = choose_tiles(wishes, std::llround(rows), active, backend ? backend->info() : hopper(wishes.arch));
  if (!chosen) return fail(chosen.error());
  if (!backend) return compile(wishes, *chosen);
  if (auto status = time_tiles(wishes, *backend, *samples, *chosen); !status) return status;
  print_times(wishes, *chosen, rows, active);
  return {};
}

int run_program(int argc, char** argv) {
  Wishes wishes;
  CLI::App app{"Times (or compiles) tiles of the GPU families for one problem"};
  app.add_option("--experts", wishes.problem.experts);
  app.add_option("--n", wishes.problem.n);
  app.add_option("--k", wishes.problem.k);
  app.add_option("--top-k", wishes.problem.top_k);
  app.add_option("--dtype", wishes.dtype);
  app.add_option("--block-shape", wishes.block_shape, "N,K");
  app.add_option("--scales", wishes.scales, "per_token_channel");
  app.add_flag("--tf32", wishes.problem.tf32);
  app.add_option("--routing", wishes.routing);
  app.add_option("--batch", wishes.batch, "tokens");
  app.add_option("--where", wishes.where, "KEY=NUMBER,... that a tile of the grid must have; kernel: 1 sm80, 2 sm90");
  app.add_option("--tile", wishes.tiles, "KEY=NUMBER,...: this tile instead of the grid's; may be repeated");
  app.add_option("--most", wishes.most, "the model's first so many");
  app.add_option("--compile", wishes.arch, "compile for it, and time nothing");
  app.add_option("--cubins", wishes.cubins, "with --compile: leave the kernels there");
  app.add_option("--load", wishes.load, "seconds that a tile runs before each timing (default 0)");
  app.add_flag("--verify", wishes.verifies, "compare each tile with the reference first");
  CLI11_PARSE(app, argc, argv);
  if (auto status = run(wishes); !status) {
    fmt::print(stderr, "{}\n", status.error().message);
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run_program(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
