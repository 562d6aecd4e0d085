#include "backend/cpu/cpu_backend.hpp"

#include <fmt/format.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "backend/cpu/grouped.hpp"
#include "backend/cpu/kernel_sets.hpp"
#include "backend/cpu/layer.hpp"
#include "backend/cpu/quantise.hpp"
#include "plan/kernel_plan.hpp"
#include "problem/groups.hpp"
#include "process/fork.hpp"

namespace expertile::cpu {
namespace {

constexpr int kMostThreads = 4096;

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The value behind "key : value" in a /proc file; empty where there is none.
std::string proc_value(const char* file, std::string_view key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const auto first = line.find_first_not_of(" \t", colon + 1);
    return first == std::string::npos ? std::string() : line.substr(first);
  }
  return {};
}

std::int64_t available_memory() {
  const std::string text = proc_value("/proc/meminfo", "MemAvailable");  // "23456 kB"
  return text.empty() ? 0 : std::strtoll(text.c_str(), nullptr, 10) * 1024;
}

DeviceInfo describe_machine(CpuIsa isa, int threads) {
  CpuInfo cpu;
  cpu.isa = isa;
  cpu.threads = threads;
  const auto known = [](int key, std::int64_t otherwise) {
    const std::int64_t value = sysconf(key);
    return value > 0 ? value : otherwise;
  };
  cpu.l1_bytes_core = known(_SC_LEVEL1_DCACHE_SIZE, cpu.l1_bytes_core);
  cpu.l2_bytes_core = known(_SC_LEVEL2_CACHE_SIZE, cpu.l2_bytes_core);
  cpu.l3_bytes = known(_SC_LEVEL3_CACHE_SIZE, 0);
  return {path_name(proc_value("/proc/cpuinfo", "model name")), cpu, available_memory(), {}};
}

// Several streams a thread, as the kernels read several rows of B: one alone does not fill the prefetchers.
std::uint64_t streamed_sum(const std::vector<std::uint64_t>& data, int threads) {
  constexpr std::int64_t kStreams = 8;
  const std::int64_t length = static_cast<std::int64_t>(data.size()) / (kStreams * threads);
  std::uint64_t sum = 0;
#pragma omp parallel for num_threads(threads) reduction(+ : sum) schedule(static)
  for (int thread = 0; thread < threads; ++thread) {
    const std::uint64_t* first = data.data() + thread * kStreams * length;
    for (std::int64_t i = 0; i + 8 <= length; i += 8) {
      for (std::int64_t stream = 0; stream < kStreams; ++stream) {
        for (std::int64_t word = i; word < i + 8; ++word) sum += first[stream * length + word];
      }
    }
  }
  return sum;
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(const NamedKernels& set, int threads)
      : kernels_(*set.kernels), info_(describe_machine(set.isa, threads)) {}

  [[nodiscard]] const DeviceInfo& info() const noexcept override { return info_; }

  [[nodiscard]] std::vector<Result<SharedPlan>> plan(const Problem& problem, const std::vector<TileConfig>& tiles,
                                                     const std::vector<CallTypes>&,
                                                     SlowKernels /*slow*/) const override {
    std::vector<Result<SharedPlan>> plans;
    plans.reserve(tiles.size());
    for (const TileConfig& tile : tiles) plans.emplace_back(std::make_shared<const CallPlan>(problem, tile));
    return plans;
  }
  [[nodiscard]] Status run(const CallPlan& plan, const GroupedGemmArgs& args) const override;
  [[nodiscard]] std::size_t workspace_bytes(const Problem& problem, std::int64_t rows) const noexcept override {
    return expertile::workspace_bytes(problem, rows);
  }
  [[nodiscard]] Result<SharedLayerPlan> plan_layer(const MoeProblem& problem) const override {
    return std::make_shared<const LayerPlan>(problem);
  }
  [[nodiscard]] Status run_layer(const LayerPlan& plan, const ProductPlans& products,
                                 const MoeLayerArgs& args) const override;
  [[nodiscard]] Status check_pointers(const MoeLayerArgs&) const override { return {}; }
  [[nodiscard]] Status synchronise() const override { return {}; }
  [[nodiscard]] Status check_pointers(const GroupedGemmArgs&) const override { return {}; }
  [[nodiscard]] Result<double> time_us(const CallPlan& plan, std::span<const GroupedGemmArgs> calls,
                                       Calls how) const override;
  [[nodiscard]] std::size_t calls_a_timing() const noexcept override { return 1; }
  [[nodiscard]] double bandwidth() const override;
  [[nodiscard]] Result<Buffer> allocate(std::size_t bytes) const override;
  [[nodiscard]] Status fill(const Buffer& buffer, std::span<const std::byte> pattern) const override;
  [[nodiscard]] Status download(const void* from, std::span<std::byte> to) const override {
    if (!to.empty()) std::memcpy(to.data(), from, to.size());
    return {};
  }

 private:
  // A's rows to those of the call that multiplies them.
  [[nodiscard]] Status quantise_groups(std::int64_t block_k, const GroupedGemmArgs& args,
                                       const GroupedGemmArgs& call) const;
  [[nodiscard]] Status quantise_rows_between(std::int64_t begin, std::int64_t end, std::int64_t block_k,
                                             const GroupedGemmArgs& args, const GroupedGemmArgs& call) const;
  const KernelSet& kernels_;
  DeviceInfo info_;
};

// Rows of no group are not read. Groups whose rows lie back to back are quantised at once.
Status CpuBackend::quantise_groups(std::int64_t block_k, const GroupedGemmArgs& args,
                                   const GroupedGemmArgs& call) const {
  const std::int64_t groups = group_count(args);
  for (std::int64_t g = 0; g < groups;) {
    const std::int64_t begin = group_of(args, g).begin;
    std::int64_t end = begin;
    for (; g < groups && group_of(args, g).begin == end; ++g) end = group_of(args, g).end;
    if (auto status = quantise_rows_between(begin, end, block_k, args, call); !status) return status;
  }
  return {};
}

Status CpuBackend::quantise_rows_between(std::int64_t begin, std::int64_t end, std::int64_t block_k,
                                         const GroupedGemmArgs& args, const GroupedGemmArgs& call) const {
  const std::int64_t rows = end - begin;
  const std::int64_t blocks = ceil_div(args.a.cols, block_k);
  const auto first = [begin](const ConstMatrixView& m) {
    return static_cast<const std::byte*>(m.data) + begin * m.pitch * static_cast<std::int64_t>(size_of(m.type));
  };
  const ConstMatrixView a{first(args.a), rows, args.a.cols, args.a.pitch, args.a.type};
  const MatrixView out{const_cast<std::byte*>(first(call.a)), rows, call.a.cols, call.a.pitch, call.a.type};
  const std::span<float> scales{const_cast<float*>(call.scale_a.data()) + begin * blocks,
                                static_cast<std::size_t>(rows * blocks)};
  return quantise(a, block_k, out, scales, info_.cpu().threads);
}

Status CpuBackend::run(const CallPlan& plan, const GroupedGemmArgs& args) const {
  const Problem& problem = plan.problem();
  const TileConfig& tile = plan.tile();
  if (!quantises_a(problem)) return run_tiles(kernels_, info_.cpu().threads, problem, tile, args);
  if (auto status = check_workspace(problem, args); !status) return status;
  const GroupedGemmArgs call = quantised_call(problem, args);
  if (auto status = quantise_groups(problem.block_shape->k, args, call); !status) return status;
  return run_tiles(kernels_, info_.cpu().threads, problem, tile, call);
}

Status CpuBackend::run_layer(const LayerPlan& plan, const ProductPlans& products, const MoeLayerArgs& args) const {
  const MoeProblem& problem = plan.problem();
  const LayerBuffers buffers = layer_buffers(problem, args.hidden_states.rows, args.workspace.data());
  const LayerCall call{kernels_, info_.cpu().threads, problem, args, buffers};
  route(call);
  make_a13(call);
  if (auto status = run(*products.gate_up, gate_up_call(problem, args, buffers)); !status) return status;
  make_a2(call);
  if (auto status = run(*products.down, down_call(problem, args, buffers)); !status) return status;
  weighted_sum(call);
  return {};
}

Result<double> CpuBackend::time_us(const CallPlan& plan, std::span<const GroupedGemmArgs> calls, Calls /*how*/) const {
  const auto start = Clock::now();
  for (const GroupedGemmArgs& args : calls) {
    if (auto status = run(plan, args); !status) return fail(status.error());
  }
  return 1e6 * seconds_since(start) / static_cast<double>(calls.size());
}

// Beyond the last cache where memory allows; a shared cache of a large machine is capped, a tenant owns only a part.
double CpuBackend::bandwidth() const {
  const std::int64_t bytes =
      std::clamp<std::int64_t>(2 * info_.cpu().l3_bytes, std::int64_t{256} << 20, std::int64_t{1} << 30);
  const std::vector<std::uint64_t> data(static_cast<std::size_t>(bytes) / 8, 1);
  double best = std::numeric_limits<double>::infinity();
  double total = 0;
  // The fastest over a second: a neighbour's burst on a shared machine lasts a while.
  for (int i = 0; i < 4 || total < 1; ++i) {
    const auto start = Clock::now();
    const std::uint64_t sum = streamed_sum(data, info_.cpu().threads);
    if (sum == 0) return 0;  // the sum is used, so that the loop is not removed
    best = std::min(best, seconds_since(start));
    total += seconds_since(start);
  }
  return static_cast<double>(bytes) / best;
}

Result<Buffer> CpuBackend::allocate(std::size_t bytes) const {
  constexpr std::size_t kAlign = 64;
  void* data = std::aligned_alloc(kAlign, (bytes / kAlign + 1) * kAlign);
  if (data == nullptr) {
    return fail(ErrorCode::unsupported,
                fmt::format("out of memory: {:.1f} MiB are not free; give a smaller problem or batch size",
                            static_cast<double>(bytes) / (1 << 20)));
  }
  return Buffer(data, bytes, [](void* memory) { std::free(memory); });
}

Status CpuBackend::fill(const Buffer& buffer, std::span<const std::byte> pattern) const {
  auto* to = static_cast<std::byte*>(buffer.data());
  for (std::size_t done = 0; done < buffer.bytes() && !pattern.empty();) {
    const std::size_t count = std::min(pattern.size(), buffer.bytes() - done);
    std::memcpy(to + done, pattern.data(), count);
    done += count;
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Backend>> make_cpu_backend(int threads, std::optional<CpuIsa> isa) {
  if (threads < 0 || threads > kMostThreads) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("threads is {}, it must be from 1 to {}, or 0 for all", threads, kMostThreads));
  }
  for (const NamedKernels& set : kernel_sets()) {
    if (isa && *isa != set.isa) continue;
    release_openmp_threads_at_forks();
    return std::make_unique<CpuBackend>(set, threads == 0 ? omp_get_max_threads() : threads);
  }
  return fail(ErrorCode::unsupported,
              fmt::format("instruction set '{}' is not one this machine runs; give none for the best", name(*isa)));
}

}  // namespace expertile::cpu
