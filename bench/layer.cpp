// A whole layer beside its own two products, on a GPU: a graph of four routings, microseconds a call.
//
//   bench_layer [--config-dir DIR] [--layer NAME] [--dtype bfloat16|fp8_block] [--tokens 1,16,128,1024,8192] [--csv
//   FILE]

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <numeric>
#include <random>

#include "backend/backend.hpp"
#include "backend/cuda/context.hpp"
#include "backend/cuda/timing.hpp"
#include "expertile/moe_layer.hpp"
#include "expertile/operand.hpp"
#include "moe/buffers.hpp"
#include "problem/sizes.hpp"

namespace {

using namespace expertile;

constexpr int kRoutings = 4;

struct NamedLayer {
  const char* name;
  std::int64_t experts, intermediate, hidden, top_k;
};
// Of one rank, as docs/layer.md lists them.
constexpr NamedLayer kLayers[] = {{"qwen3-30b", 128, 768, 2048, 8},
                                  {"mixtral", 8, 14336, 4096, 2},
                                  {"dsv3-ep8", 32, 2048, 7168, 1},
                                  {"minimax-m2-tp4", 256, 384, 3072, 8}};

struct Options {
  std::string config_dir;
  std::string layer;
  std::string dtype;
  std::vector<std::int64_t> tokens{1, 16, 128, 1024, 8192};
  std::string csv;
};

template <class T>
T checked(Result<T> result) {
  if (result) return std::move(*result);
  fmt::print(stderr, "{}\n", result.error().message);
  std::exit(exit_status(result.error()));
}
void checked(const Status& status) {
  if (status) return;
  fmt::print(stderr, "{}\n", status.error().message);
  std::exit(exit_status(status.error()));
}

// ---- tensors --------------------------------------------------------------------------------------------------------

// Bytes whose every pattern is a small number of any type.
Buffer filled(const Backend& backend, std::size_t bytes) {
  std::mt19937 generator(7);
  std::vector<std::byte> pattern(1 << 20);
  for (std::byte& byte : pattern) byte = static_cast<std::byte>(generator() & 0x3fU);
  Buffer buffer = checked(backend.allocate(bytes));
  checked(backend.fill(buffer, pattern));
  return buffer;
}

template <class T>
Buffer placed(const Backend& backend, const std::vector<T>& values) {
  Buffer buffer = checked(backend.allocate(values.size() * sizeof(T)));
  checked(backend.fill(buffer, std::as_bytes(std::span(values))));
  return buffer;
}

struct Routing {
  Buffer ids;
  Buffer seg_indptr;
};

// Random experts of each token, without replacement.
Routing random_routing(const Backend& backend, const NamedLayer& layer, std::int64_t tokens, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<std::int32_t> experts(static_cast<std::size_t>(layer.experts));
  std::iota(experts.begin(), experts.end(), 0);
  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> segments(experts.size() + 1);
  for (std::int64_t token = 0; token < tokens; ++token) {
    std::shuffle(experts.begin(), experts.end(), generator);
    for (std::int64_t slot = 0; slot < layer.top_k; ++slot) {
      ids.push_back(experts[static_cast<std::size_t>(slot)]);
      ++segments[static_cast<std::size_t>(ids.back()) + 1];
    }
  }
  std::partial_sum(segments.begin(), segments.end(), segments.begin());
  return {placed(backend, ids), placed(backend, segments)};
}

// ---- one cell -------------------------------------------------------------------------------------------------------

struct Times {
  double layer_us = 0;
  double products_us = 0;
  std::size_t workspace_bytes = 0;
};

struct Weights {
  Buffer w13, w2, scale_13, scale_2, identity;
};

Weights make_weights(const Backend& backend, const MoeProblem& problem) {
  const Problem gate_up = gate_up_of(problem);
  const Problem down = down_of(problem);
  const auto weights = [&](const Problem& product) {
    return filled(backend, static_cast<std::size_t>(bytes_of(operands_of(product).b, shape_of_b(product)).elements));
  };
  const auto scales = [&](const Problem& product) {
    return placed(backend, std::vector<float>(static_cast<std::size_t>(scale_sizes(product, 0).b + 1), 0.01F));
  };
  std::vector<std::int64_t> identity(static_cast<std::size_t>(problem.experts));
  std::iota(identity.begin(), identity.end(), 0);
  return {weights(gate_up), weights(down), scales(gate_up), scales(down), placed(backend, identity)};
}

std::span<const float> floats(const Buffer& buffer, std::int64_t count) {
  return {static_cast<const float*>(buffer.data()), static_cast<std::size_t>(count)};
}

class Cell {
 public:
  Cell(const Backend& backend, const NamedLayer& named, const MoeProblem& problem, const Weights& weights,
       const Options& options, std::int64_t tokens)
      : backend_(backend), problem_(problem), options_(options), tokens_(tokens) {
    const Problem gate_up = gate_up_of(problem);
    const Problem down = down_of(problem);
    const ElementType hidden = hidden_type_of(problem);
    const ElementType weight = operands_of(gate_up).b.element;
    const auto bytes = static_cast<std::size_t>(tokens * problem.hidden_size) * size_of(hidden);
    hidden_ = filled(backend, bytes);
    out_ = filled(backend, bytes);
    weights_ = placed(backend, std::vector<float>(static_cast<std::size_t>(tokens * problem.top_k), 0.5F));
    for (unsigned i = 0; i < kRoutings; ++i) routings_.push_back(random_routing(backend, named, tokens, 100 + i));
    args_.hidden_states = {hidden_.data(), tokens, problem.hidden_size, problem.hidden_size, hidden};
    args_.w13 = {weights.w13.data(), problem.experts * gate_up.n, gate_up.k, gate_up.k, weight};
    args_.w2 = {weights.w2.data(), problem.experts * down.n, down.k, down.k, weight};
    args_.topk_weights = {weights_.data(), tokens, problem.top_k, problem.top_k, ElementType::float32};
    args_.out = {out_.data(), tokens, problem.hidden_size, problem.hidden_size, hidden};
    args_.scale_13 = floats(weights.scale_13, scale_sizes(gate_up, 0).b);
    args_.scale_2 = floats(weights.scale_2, scale_sizes(down, 0).b);
    identity_ = static_cast<const std::int64_t*>(weights.identity.data());
  }

  Times measure(const cuda::Driver& driver, cuda::StreamHandle stream) {
    const auto layer =
        checked(MoeLayer::prepare(problem_, {.device = "cuda", .threads = 0, .config_dir = options_.config_dir}));
    Times times;
    times.workspace_bytes = layer.workspace_bytes(tokens_);
    workspace_ = filled(backend_, times.workspace_bytes);
    args_.workspace = {static_cast<std::byte*>(workspace_.data()), times.workspace_bytes};
    args_.stream = stream;
    times.layer_us = median_us(driver, stream, [&]() -> Status {
      for (const Routing& routing : routings_) {
        args_.topk_ids = ids(static_cast<const std::int32_t*>(routing.ids.data()), tokens_, problem_.top_k);
        if (auto status = layer(args_); !status) return status;
      }
      return {};
    });
    const PrepareOptions of_products{
        .device = "cuda", .threads = 0, .config_dir = options_.config_dir, .c_type = hidden_type_of(problem_)};
    const auto gate_up = checked(GroupedGemm::prepare(gate_up_of(problem_), of_products));
    const auto down = checked(GroupedGemm::prepare(down_of(problem_), of_products));
    const LayerBuffers buffers = layer_buffers(problem_, tokens_, args_.workspace.data());
    times.products_us = median_us(driver, stream, [&]() -> Status {
      for (const Routing& routing : routings_) {
        for (const bool is_first : {true, false}) {
          GroupedGemmArgs call =
              is_first ? gate_up_call(problem_, args_, buffers) : down_call(problem_, args_, buffers);
          call.seg_indptr = {static_cast<const std::int64_t*>(routing.seg_indptr.data()), call.seg_indptr.size()};
          call.weight_indices = {identity_, call.weight_indices.size()};
          if (auto status = (is_first ? gate_up : down)(call); !status) return status;
        }
      }
      return {};
    });
    return times;
  }

 private:
  static double median_us(const cuda::Driver& driver, cuda::StreamHandle stream, const std::function<Status()>& work) {
    std::vector<double> times;
    for (int i = 0; i < 9; ++i) times.push_back(1e3 * checked(cuda::graph_ms(driver, stream, work)) / kRoutings);
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

  const Backend& backend_;
  MoeProblem problem_;
  const Options& options_;
  std::int64_t tokens_;
  Buffer hidden_, out_, weights_, workspace_;
  std::vector<Routing> routings_;
  const std::int64_t* identity_ = nullptr;
  MoeLayerArgs args_;
};

MoeProblem problem_of(const NamedLayer& layer, bool is_fp8) {
  MoeProblem problem{.experts = layer.experts,
                     .hidden_size = layer.hidden,
                     .intermediate_size = layer.intermediate,
                     .top_k = layer.top_k};
  if (!is_fp8) return problem;
  problem.dtype = DType::fp8_w8a8;
  problem.block_shape = BlockShape{128, 128};
  return problem;
}

void run(const Options& options) {
  const auto backend = checked(open_backend("cuda"));
  const cuda::Driver& driver = *checked(cuda::driver());
  const auto context = checked(cuda::PrimaryContext::open(driver, 0));
  const cuda::CurrentContext current(driver, context->handle());
  cuda::StreamHandle stream = nullptr;
  checked(driver.check(driver.stream_create(&stream, 1), "making a stream"));
  std::ofstream csv;
  if (!options.csv.empty()) {
    csv.open(options.csv);
    fmt::print(csv, "device,layer,dtype,tokens,layer_us,products_us,workspace_bytes\n");
  }
  fmt::print("{}\n{:<16}{:<11}{:>7}{:>12}{:>12}{:>10}{:>14}\n", backend->info().name, "layer", "dtype", "tokens",
             "layer us", "products us", "ratio", "workspace MiB");
  for (const NamedLayer& layer : kLayers) {
    if (!options.layer.empty() && options.layer != layer.name) continue;
    for (const bool is_fp8 : {false, true}) {
      const char* dtype = is_fp8 ? "fp8_block" : "bfloat16";
      if (!options.dtype.empty() && options.dtype != dtype) continue;
      const MoeProblem problem = problem_of(layer, is_fp8);
      const Weights weights = make_weights(*backend, problem);
      for (const std::int64_t tokens : options.tokens) {
        const Times times = Cell(*backend, layer, problem, weights, options, tokens).measure(driver, stream);
        fmt::print("{:<16}{:<11}{:>7}{:>12.1f}{:>12.1f}{:>10.3f}{:>14.1f}\n", layer.name, dtype, tokens, times.layer_us,
                   times.products_us, times.layer_us / times.products_us,
                   static_cast<double>(times.workspace_bytes) / (1 << 20));
        std::fflush(stdout);
        if (csv.is_open()) {
          fmt::print(csv, "{},{},{},{},{:.2f},{:.2f},{}\n", backend->info().name, layer.name, dtype, tokens,
                     times.layer_us, times.products_us, times.workspace_bytes);
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"A layer's time on a GPU, beside that of its two products."};
  app.add_option("--config-dir", options.config_dir, "Where tuned files are");
  app.add_option("--layer", options.layer, "One of them: qwen3-30b, mixtral, dsv3-ep8 or minimax-m2-tp4");
  app.add_option("--dtype", options.dtype, "bfloat16 or fp8_block");
  app.add_option("--tokens", options.tokens, "Batch sizes")->delimiter(',');
  app.add_option("--csv", options.csv, "Writes every cell to this file");
  CLI11_PARSE(app, argc, argv);
  run(options);
}
