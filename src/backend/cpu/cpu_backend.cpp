#include "backend/cpu/cpu_backend.hpp"

#include <fmt/format.h>
#include <omp.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <fstream>
#include <string>
#include <vector>

#include "backend/cpu/grouped.hpp"

namespace expertile::cpu {
namespace {

constexpr int kMostThreads = 4096;

// "Intel(R) Xeon(R) Processor" -> "Intel_R_Xeon_R_Processor": it becomes a folder's name.
std::string path_name(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool keep = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.';
    if (keep) {
      out += c;
    } else if (!out.empty() && out.back() != '_') {
      out += '_';
    }
  }
  while (!out.empty() && out.back() == '_') out.pop_back();
  return out.empty() || out.front() == '.' ? "cpu" : out;
}

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

DeviceInfo describe_machine(const KernelSet& kernels, int threads) {
  DeviceInfo info;
  info.kind = "cpu";
  info.name = path_name(proc_value("/proc/cpuinfo", "model name"));
  info.isa = kernels.isa;
  info.threads = threads;
  const auto known = [](int key, std::int64_t otherwise) {
    const std::int64_t value = sysconf(key);
    return value > 0 ? value : otherwise;
  };
  info.l1_bytes = known(_SC_LEVEL1_DCACHE_SIZE, info.l1_bytes);
  info.l2_bytes = known(_SC_LEVEL2_CACHE_SIZE, info.l2_bytes);
  info.l3_bytes = known(_SC_LEVEL3_CACHE_SIZE, 0);
  info.memory_bytes = available_memory();
  return info;
}

class CpuBackend final : public Backend {
 public:
  CpuBackend(const KernelSet& kernels, int threads) : kernels_(kernels), info_(describe_machine(kernels, threads)) {}

  [[nodiscard]] const DeviceInfo& info() const noexcept override { return info_; }

  void run(const Problem& problem, const TileConfig& tile, const GroupedGemmArgs& args) const override {
    if (!quantises_a(problem)) return run_tiles(kernels_, info_.threads, problem, tile, args);
    const std::int64_t rows = args.seg_indptr.back();
    const std::int64_t blocks = ceil_div(problem.k, problem.block_shape->k);
    std::vector<Float8E4M3> quantised(static_cast<std::size_t>(rows * problem.k));
    std::vector<float> scales(static_cast<std::size_t>(rows * blocks));
    ConstMatrixView a = args.a;
    a.rows = rows;
    static_cast<void>(quantise_rows(a, problem.block_shape->k, view(quantised.data(), rows, problem.k), scales));
    GroupedGemmArgs inner = args;
    inner.a = view(static_cast<const Float8E4M3*>(quantised.data()), rows, problem.k);
    inner.scale_a = scales;
    run_tiles(kernels_, info_.threads, problem, tile, inner);
  }

 private:
  const KernelSet& kernels_;
  DeviceInfo info_;
};

}  // namespace

Result<std::unique_ptr<Backend>> make_cpu_backend(int threads, std::string_view isa) {
  if (threads < 0 || threads > kMostThreads) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("threads is {}, it must be from 1 to {}, or 0 for all", threads, kMostThreads));
  }
  const std::array<const KernelSet*, 4> best_first = {avx512_bf16_kernels(), avx512_kernels(), avx2_kernels(),
                                                      portable_kernels()};
  for (const KernelSet* kernels : best_first) {
    if (kernels == nullptr || (!isa.empty() && isa != kernels->isa)) continue;
    return std::make_unique<CpuBackend>(*kernels, threads == 0 ? omp_get_max_threads() : threads);
  }
  return fail(ErrorCode::unsupported,
              fmt::format("instruction set '{}' is not one this machine runs; leave it empty for the best", isa));
}

}  // namespace expertile::cpu
