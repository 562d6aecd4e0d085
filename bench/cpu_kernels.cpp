// Micro-benchmarks of the CPU backend's inner parts, one line an instruction set: the panel product that the tiles run
// on, and the conversions that pack panels. Panels are cache-resident, so these are the kernels' own limits.
//
//   cmake --preset bench && cmake --build --preset bench && build/release/bench/bench_cpu_kernels

#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "backend/cpu/kernel_sets.hpp"
#include "problem/sizes.hpp"

namespace {

using namespace expertile;
using cpu::KernelSet;

constexpr std::int64_t kRows = 64;
constexpr std::int64_t kColumns = 96;
constexpr std::int64_t kLength = 1024;

std::vector<std::byte> elements(ElementType type, std::int64_t count) {
  std::mt19937_64 generator(1);
  std::normal_distribution<float> normal;
  std::vector<std::byte> out(static_cast<std::size_t>(count) * size_of(type));
  for (std::int64_t i = 0; i < count; ++i) store_element(type, normal(generator), out.data(), i);
  return out;
}

// One tile's product, [kRows, kLength] x [kColumns, kLength]^T.
void product(benchmark::State& state, void (*multiply)(const cpu::PanelProduct&), ElementType type) {
  const auto a = elements(type, kRows * kLength);
  const auto b = elements(type, kColumns * kLength);
  std::vector<double> acc(kRows * kColumns);
  for ([[maybe_unused]] auto _ : state) {  // NOLINT(clang-analyzer-deadcode.DeadStores)
    multiply({a.data(), kLength, b.data(), kLength, kRows, kColumns, kLength, acc.data(), kColumns});
    benchmark::ClobberMemory();
  }
  state.counters["FLOP/s"] =
      benchmark::Counter(2.0 * kRows * kColumns * kLength, benchmark::Counter::kIsIterationInvariantRate);
}

void conversion(benchmark::State& state, cpu::ToFloat convert, ElementType type) {
  const auto source = elements(type, kLength);
  std::vector<float> packed(kLength);
  for ([[maybe_unused]] auto _ : state) {  // NOLINT(clang-analyzer-deadcode.DeadStores)
    convert(source.data(), packed.data(), kLength, 0.5F);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kLength);
}

void add_benchmarks(const std::string& isa, const KernelSet& kernels) {
  const auto add = [&](const std::string& what, auto function, auto kernel, ElementType type) {
    if (kernel == nullptr) return;
    benchmark::RegisterBenchmark((isa + "/" + what).c_str(), function, kernel, type);
  };
  add("multiply_float32", product, kernels.multiply_float32, ElementType::float32);
  add("multiply_bfloat16", product, kernels.multiply_bfloat16, ElementType::bfloat16);
  add("multiply_int16", product, kernels.multiply_int16, ElementType::bfloat16);  // any 16 bits do
  add("float_from_float16", conversion, kernels.float_from_float16, ElementType::float16);
  add("float_from_bfloat16", conversion, kernels.float_from_bfloat16, ElementType::bfloat16);
  add("float_from_e4m3", conversion, kernels.float_from_e4m3, ElementType::float8_e4m3);
  add("float_from_int8", conversion, kernels.float_from_int8, ElementType::int8);
}

}  // namespace

int main(int argc, char** argv) {
  for (const auto& [isa, kernels] : cpu::kernel_sets()) add_benchmarks(std::string(name(isa)), *kernels);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
