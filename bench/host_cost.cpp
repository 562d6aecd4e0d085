// What expertile costs the host: opening a device, preparing operations, and the calls themselves, in C++ and through
// C, which a GPU's stream takes without waiting. On a CPU a call is complete when it returns, so the one that is timed
// there multiplies next to nothing.
//
//   bench_host_cost [--device cuda] [--calls 10000]
//
// Preparing is timed for Mixtral's two projections in bfloat16: with the tuned file where one is found (see
// $EXPERTILE_CONFIG_DIR), and without. Kernels that are in no cache are compiled by the first run: run it twice.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "backend/cuda/context.hpp"
#include "expertile/device.hpp"
#include "jit/nvrtc.hpp"
#include "kernel_spec.hpp"
#include "problem/routing.hpp"
#include "through_c.hpp"
#include "tune/tensors.hpp"

namespace expertile {
namespace {

using SteadyClock = std::chrono::steady_clock;

double microseconds_since(SteadyClock::time_point begin) {
  return std::chrono::duration<double, std::micro>(SteadyClock::now() - begin).count();
}

struct Wishes {
  std::string device = "auto";
  std::size_t calls = 10000;
};

void report(const std::string& what, const std::string& figure) { fmt::print("{:<78} {:>14}\n", what, figure); }

// ---- preparing ----------------------------------------------------------------------------------------------------

const std::vector<Problem>& projections() {
  static const std::vector<Problem> both = {
      {.experts = 8, .n = 28672, .k = 4096, .dtype = DType::bfloat16, .top_k = 2},
      {.experts = 8, .n = 4096, .k = 14336, .dtype = DType::bfloat16, .top_k = 2, .hidden_size = 4096}};
  return both;
}

Result<GroupedGemm> prepare(const Problem& problem, const Wishes& wishes, const char* config_dir) {
  return GroupedGemm::prepare(problem, {.device = wishes.device, .config_dir = config_dir});
}

// The first operation of its kind in this process, and the second, whose kernels are loaded.
Status time_preparing(const Wishes& wishes, const std::string& what, const char* config_dir, bool wants_file) {
  for (const Problem& problem : projections()) {
    for (const char* which : {"first", "again"}) {
      const auto begin = SteadyClock::now();
      const auto gemm = prepare(problem, wishes, config_dir);
      const double taken = microseconds_since(begin);
      if (!gemm) return fail(gemm.error());
      const bool has_file = !gemm->selection(problem.top_k).file.empty();
      if (has_file != wants_file) {
        report(fmt::format("prepare, {}, N={}, {}", what, problem.n, which), "no such file");
      } else {
        report(fmt::format("prepare, {}, N={}, {}", what, problem.n, which), fmt::format("{:.2f} ms", taken / 1e3));
      }
    }
  }
  return {};
}

Status time_a_models_operations(const Wishes& wishes) {
  constexpr int kLayers = 60;
  std::vector<GroupedGemm> operations;
  const auto begin = SteadyClock::now();
  for (int layer = 0; layer < kLayers; ++layer) {
    for (const Problem& problem : projections()) {
      auto gemm = prepare(problem, wishes, "");
      if (!gemm) return fail(gemm.error());
      operations.push_back(std::move(*gemm));
    }
  }
  const double taken = microseconds_since(begin);
  report(fmt::format("prepare, {} operations of {} layers, all alive", operations.size(), kLayers),
         fmt::format("{:.2f} ms", taken / 1e3));
  return {};
}

// ---- calling ------------------------------------------------------------------------------------------------------

constexpr std::size_t kInFlight = 64;  // a stream's queue must not be what is waited for

// Microseconds, the median of many; every few of them the device is waited for.
template <class Work, class Wait>
double median_us(std::size_t count, const Work& work, const Wait& wait) {
  std::vector<double> times;
  for (std::size_t i = 0; i < count; ++i) {
    if (i % kInFlight == 0) wait();
    const auto begin = SteadyClock::now();
    work(i);
    times.push_back(microseconds_since(begin));
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

struct Case {
  std::string what;
  Problem problem;
  std::int64_t tokens = 8;
  int threads = 0;
};

std::vector<Case> cases(bool is_gpu) {
  if (!is_gpu) {
    const Problem tiny{.experts = 1, .n = 16, .k = 16, .dtype = DType::bfloat16, .top_k = 1};
    return {{"one row, N=16, K=16, one thread", tiny, 1, 1}};
  }
  Problem aligned{.experts = 8, .n = 1024, .k = 1024, .dtype = DType::bfloat16, .top_k = 2};
  Problem n_1000 = aligned;
  n_1000.n = 1000;
  Problem k_1001 = n_1000;
  k_1001.k = 1001;  // rows of 2002 bytes: the kernel for rows that are not aligned
  Problem quantised = aligned;
  quantised.block_shape = BlockShape{128, 128};
  return {{"aligned, N=1024, K=1024", aligned},
          {"N=1000, K=1024", n_1000},
          {"unaligned, N=1000, K=1001", k_1001},
          {"A quantised by the call (two kernels), N=1024, K=1024", quantised}};
}

Status time_calls(const Wishes& wishes, const Backend& backend, const Case& one, int alive) {
  std::vector<GroupedGemm> operations;
  for (int i = 0; i < alive; ++i) {
    auto gemm = GroupedGemm::prepare(one.problem,
                                     {.device = wishes.device, .threads = one.threads, .config_dir = "/nonexistent"});
    if (!gemm) return fail(gemm.error());
    operations.push_back(std::move(*gemm));
  }
  const auto operations_in_c = OperationsInC::prepare(one.problem, wishes.device, one.threads, alive);
  if (!operations_in_c) return fail(operations_in_c.error());
  const auto samples = routing_samples(Routing{}, one.problem.experts, one.problem.top_k, one.tokens, 1);
  if (!samples) return fail(samples.error());
  const RoutingSample& sample = samples->front();
  const auto routing = PlacedRouting::make(backend, sample);
  if (!routing) return fail(routing.error());
  const auto tensors = Tensors::make(backend, one.problem, sample.rows(), 1);
  if (!tensors) return fail(tensors.error());
  const GroupedGemmArgs args = tensors->args(*routing, sample.rows());

  const expertile_grouped_gemm_args args_in_c = in_c(args);

  Status status;
  const auto call = [&](std::size_t i) {
    if (auto one_call = operations[i % operations.size()](args); !one_call) status = one_call;
  };
  const auto call_in_c = [&](std::size_t i) {
    const expertile_status one_call = expertile_run((*operations_in_c)[i % operations_in_c->size()], &args_in_c);
    if (one_call != EXPERTILE_OK) status = status_in_c(one_call);
  };
  const auto wait = [&] {
    if (auto waited = backend.synchronise(); !waited) status = waited;
  };
  const double us = median_us(wishes.calls, call, wait);
  const double us_in_c = median_us(wishes.calls, call_in_c, wait);
  wait();
  if (!status) return status;
  const std::string what = fmt::format("call, {}, {} operation{} alive", one.what, alive, alive == 1 ? "" : "s");
  report(what, fmt::format("{:.3f} us", us));
  report("  through C", fmt::format("{:.3f} us", us_in_c));
  return {};
}

// The GPU that Device::open takes this for.
int index_of(std::string_view device) {
  return device.starts_with("cuda:") ? std::stoi(std::string(device.substr(5))) : 0;
}

// What is in the figures above and not the library's: reading the clock, and the driver's launch of a kernel that does
// nothing, with as many bytes of arguments as expertile's have.
Status time_what_is_not_ours(const Backend& backend, const std::string& device) {
  report("the clock alone", fmt::format("{:.2f} us", median_us(
                                                         10000, [](std::size_t) {}, [] {})));
  if (!backend.info().is_gpu()) return {};
  const auto driver = cuda::driver();
  const auto nvrtc = jit::Nvrtc::open();
  if (!driver || !nvrtc) return fail(driver ? nvrtc.error() : driver.error());
  struct Arguments {
    char bytes[sizeof(TiledArgs)];
  } arguments{};
  const std::string text = fmt::format(
      "struct A {{ char bytes[{}]; }}; extern \"C\" __global__ void nothing(const __grid_constant__ A a) {{}}",
      sizeof(Arguments));
  const auto cubin = nvrtc->compile({{"nothing.cu", text}, arch_name(backend.info().gpu()), {}});
  if (!cubin) return fail(cubin.error());
  const auto context = cuda::PrimaryContext::open(**driver, index_of(device));
  if (!context) return fail(context.error());
  const cuda::CurrentContext current(**driver, (*context)->handle());
  cuda::ModuleHandle module = nullptr;
  cuda::FunctionHandle function = nullptr;
  Status status = (*driver)->check((*driver)->load_module(&module, cubin->image.data()), "loading a kernel");
  if (status) status = (*driver)->check((*driver)->module_function(&function, module, "nothing"), "finding a kernel");
  if (!status) return status;
  cuda::LaunchConfig config;
  config.blocks[0] = 64;
  config.threads[0] = 160;
  void* parameters[] = {&arguments};
  const auto launch = [&](std::size_t) { (*driver)->launch(&config, function, parameters, nullptr); };
  const auto wait = [&] { static_cast<void>(backend.synchronise()); };
  report("the driver's launch of an empty kernel alone", fmt::format("{:.2f} us", median_us(10000, launch, wait)));
  return {};
}

Status run(const Wishes& wishes) {
  const auto begin = SteadyClock::now();
  const auto device = Device::open(wishes.device);
  if (!device) return fail(device.error());
  report(fmt::format("open {}", device->info().name), fmt::format("{:.2f} ms", microseconds_since(begin) / 1e3));
  if (auto status = time_preparing(wishes, "tuned file and its kernels", "", true); !status) return status;
  if (auto status = time_preparing(wishes, "no file", "/nonexistent", false); !status) return status;
  if (auto status = time_a_models_operations(wishes); !status) return status;
  report("kernels loaded in all", fmt::format("{}", device->loaded_kernels()));
  const auto backend = open_backend(wishes.device);
  if (!backend) return fail(backend.error());
  for (const Case& one : cases((*backend)->info().is_gpu())) {
    for (const int alive : {1, 500}) {
      if (auto status = time_calls(wishes, **backend, one, alive); !status) return status;
    }
  }
  return time_what_is_not_ours(**backend, wishes.device);
}

}  // namespace
}  // namespace expertile

int main(int argc, char** argv) {
  expertile::Wishes wishes;
  CLI::App app("What expertile costs the host; see the head of bench/host_cost.cpp.");
  app.add_option("--device", wishes.device, "auto, cpu, cuda or cuda:I");
  app.add_option("--calls", wishes.calls, "timed, the median is printed")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  if (const auto status = expertile::run(wishes); !status) {
    fmt::print(stderr, "{}\n", status.error().message);
    return expertile::exit_status(status.error());
  }
  return 0;
}
