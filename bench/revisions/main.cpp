// Two revisions of the library in one process, on the same tensors, in turns: does a change of the kernels cost time?
//
//   bench_revisions [--rounds 20] [--csv FILE] [--most-tokens 4096]
//
// Both run the tile that they choose without a file. Per cell: the ratio new / old of each round's pair of graphs, its
// median, and the noise of that (two standard errors of the median, from the rounds' deviations). Exit status 1 where a
// cell's results differ by a bit, or its ratio is above 1.02 by more than the noise.

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "revisions/side.hpp"

namespace revisions {
namespace {

constexpr std::size_t kCallsAGraph = 8;
constexpr std::size_t kMostCopies = 4;
constexpr std::int64_t kTokens[] = {1, 16, 256, 4096};
constexpr double kColdBytes = 200e6;  // of weights that a graph's calls touch, so that no cache holds them

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  fmt::print(stderr, "bench_revisions: {}\n", cudaGetErrorString(error));
  std::exit(2);
}

// Device memory that repeats a pattern.
class Tensor {
 public:
  Tensor(std::size_t bytes, const std::vector<unsigned char>& pattern) {
    const std::size_t size = std::max<std::size_t>(bytes, 16);
    void* data = nullptr;
    check(cudaMalloc(&data, size));
    data_ = static_cast<unsigned char*>(data);
    std::size_t done = std::min(size, pattern.size());
    check(cudaMemcpy(data_, pattern.data(), done, cudaMemcpyHostToDevice));
    for (; done < size; done += std::min(done, size - done)) {
      check(cudaMemcpy(data_ + done, data_, std::min(done, size - done), cudaMemcpyDeviceToDevice));
    }
  }
  ~Tensor() { cudaFree(data_); }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  [[nodiscard]] unsigned char* data() const { return data_; }

 private:
  unsigned char* data_ = nullptr;
};

// Elements of so many bytes whose values are of the order of 1 in every type, and differ.
std::vector<unsigned char> elements(int bytes, const std::string& dtype, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<unsigned char> pattern;
  for (int i = 0; i < (1 << 18) + 5; ++i) {
    const float value = normal(generator);
    unsigned bits = 0;
    static_assert(sizeof bits == sizeof value);
    std::memcpy(&bits, &value, sizeof bits);
    if (bytes == 2 && dtype == "float16") {  // of a float's bits, rebiased: magnitudes from 2^-14 to 4
      const unsigned exponent = std::clamp<int>(static_cast<int>(bits >> 23 & 0xffU) - 112, 1, 16);
      bits = (bits >> 16 & 0x8000U) | exponent << 10 | (bits >> 13 & 0x3ffU);
    } else if (bytes == 2) {
      bits >>= 16;
    } else if (bytes == 1) {
      bits = generator() & (dtype.starts_with("int8") ? 0xffU : 0xbfU);  // e4m3 below 2 in magnitude: no NaN
    }
    for (int b = 0; b < bytes; ++b) pattern.push_back(static_cast<unsigned char>(bits >> 8 * b & 0xffU));
  }
  return pattern;
}

std::vector<unsigned char> scales() {
  std::mt19937 generator(7);
  std::uniform_real_distribution<float> uniform(0.01F, 0.1F);
  std::vector<float> values(4099);
  for (float& value : values) value = uniform(generator);
  std::vector<unsigned char> pattern(values.size() * sizeof(float));
  std::memcpy(pattern.data(), values.data(), pattern.size());
  return pattern;
}

// Offsets of rows that random tokens choose experts for, and the experts in their order.
struct Cell : Kind {
  std::int64_t rows = 0;
};

std::vector<std::int64_t> random_offsets(const Cell& cell) {
  std::mt19937_64 generator(11);
  std::vector<std::int64_t> rows(static_cast<std::size_t>(cell.experts), 0);
  for (std::int64_t i = 0; i < cell.rows; ++i) ++rows[generator() % rows.size()];
  std::vector<std::int64_t> offsets{0};
  for (const std::int64_t count : rows) offsets.push_back(offsets.back() + count);
  return offsets;
}

template <class T>
std::vector<unsigned char> bytes_of(const std::vector<T>& values) {
  std::vector<unsigned char> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

struct Outcome {
  double old_us = 0;
  double new_us = 0;
  double ratio = 0;
  double noise = 0;
  bool is_same = false;  // to the bit
  std::string old_tile, new_tile;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

// A cell's tensors, and both revisions' graphs over them.
class Bench {
 public:
  Bench(const Cell& cell, const Sizes& sizes) : cell_(cell), sizes_(sizes) {
    const auto count = [](std::int64_t rows, std::int64_t columns) { return static_cast<std::size_t>(rows * columns); };
    const std::size_t weight_bytes = count(cell.experts * cell.n, cell.k) * static_cast<std::size_t>(sizes.bytes_b);
    const double touched = std::min(1.0, static_cast<double>(cell.rows) / static_cast<double>(cell.experts)) *
                           static_cast<double>(weight_bytes);
    const auto copies =
        std::clamp<std::size_t>(static_cast<std::size_t>(std::ceil(kColdBytes / touched)), 1, kMostCopies);
    const auto values =
        elements(sizes.bytes_b, sizes.bytes_b == 1 && cell.dtype.starts_with("int8") ? "int8" : cell.dtype, 2);
    for (std::size_t i = 0; i < copies; ++i) weights_.push_back(std::make_unique<Tensor>(weight_bytes, values));
    a_ = std::make_unique<Tensor>(count(cell.rows, cell.k) * static_cast<std::size_t>(sizes.bytes_a),
                                  elements(sizes.bytes_a, cell.dtype == "int8_w8a8" ? "int8" : cell.dtype, 1));
    c_bytes_ = count(cell.rows, cell.n) * static_cast<std::size_t>(sizes.bytes_c);
    c_ = std::make_unique<Tensor>(c_bytes_, std::vector<unsigned char>(256, 0xff));
    scale_a_ = std::make_unique<Tensor>(4 * sizes.scales_a, scales());
    scale_b_ = std::make_unique<Tensor>(4 * sizes.scales_b, scales());
    workspace_ = std::make_unique<Tensor>(sizes.workspace, std::vector<unsigned char>(256, 0xff));
    const auto offsets = random_offsets(cell);
    segments_ = std::make_unique<Tensor>(8 * offsets.size(), bytes_of(offsets));
    std::vector<std::int64_t> experts(static_cast<std::size_t>(cell.experts));
    for (std::size_t i = 0; i < experts.size(); ++i) experts[i] = static_cast<std::int64_t>(i);
    experts_ = std::make_unique<Tensor>(8 * experts.size(), bytes_of(experts));
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    check(cudaEventCreate(&begin_));
    check(cudaEventCreate(&end_));
  }
  ~Bench() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  // What one call leaves in C.
  std::vector<unsigned char> result(const Side& side) {
    check(cudaMemset(c_->data(), 0xff, c_bytes_));
    enqueue(side, 0);
    check(cudaStreamSynchronize(stream_));
    std::vector<unsigned char> bytes(c_bytes_);
    check(cudaMemcpy(bytes.data(), c_->data(), c_bytes_, cudaMemcpyDeviceToHost));
    return bytes;
  }

  cudaGraphExec_t graph(const Side& side) {
    cudaGraph_t captured = nullptr;
    cudaGraphExec_t exec = nullptr;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    for (std::size_t i = 0; i < kCallsAGraph; ++i) enqueue(side, i);
    check(cudaStreamEndCapture(stream_, &captured));
    check(cudaGraphInstantiate(&exec, captured, 0));
    cudaGraphDestroy(captured);
    return exec;
  }

  // Microseconds a call.
  double time(cudaGraphExec_t graph) {
    float milliseconds = 0;
    check(cudaEventRecord(begin_, stream_));
    check(cudaGraphLaunch(graph, stream_));
    check(cudaEventRecord(end_, stream_));
    check(cudaEventSynchronize(end_));
    check(cudaEventElapsedTime(&milliseconds, begin_, end_));
    return 1e3 * milliseconds / kCallsAGraph;
  }

 private:
  void enqueue(const Side& side, std::size_t index) {
    Call call;
    call.rows = cell_.rows;
    call.a = a_->data();
    call.b = weights_[index % weights_.size()]->data();
    call.c = c_->data();
    call.seg_indptr = reinterpret_cast<const std::int64_t*>(segments_->data());
    call.weight_indices = reinterpret_cast<const std::int64_t*>(experts_->data());
    call.scale_a = reinterpret_cast<const float*>(scale_a_->data());
    call.scale_b = reinterpret_cast<const float*>(scale_b_->data());
    call.workspace = workspace_->data();
    call.workspace_bytes = sizes_.workspace;
    call.stream = stream_;
    if (const std::string error = side.enqueue(call); !error.empty()) {
      fmt::print(stderr, "bench_revisions: {}\n", error);
      std::exit(2);
    }
  }

  Cell cell_;
  Sizes sizes_;
  std::vector<std::unique_ptr<Tensor>> weights_;
  std::unique_ptr<Tensor> a_, c_, scale_a_, scale_b_, workspace_, segments_, experts_;
  std::size_t c_bytes_ = 0;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

Outcome compare(const Cell& cell, const Side& old_side, const Side& new_side, int rounds) {
  Outcome outcome;
  outcome.old_tile = old_side.tile(cell.rows);
  outcome.new_tile = new_side.tile(cell.rows);
  Bench bench(cell, new_side.sizes(cell.rows));
  outcome.is_same = bench.result(old_side) == bench.result(new_side);
  const cudaGraphExec_t graphs[] = {bench.graph(old_side), bench.graph(new_side)};
  for (const cudaGraphExec_t graph : graphs) bench.time(graph);  // warm
  std::vector<double> times[2];
  std::vector<double> ratios;
  for (int round = 0; round < rounds; ++round) {
    for (const int which : {round % 2, 1 - round % 2}) times[which].push_back(bench.time(graphs[which]));
    ratios.push_back(times[1].back() / times[0].back());
  }
  for (const cudaGraphExec_t graph : graphs) cudaGraphExecDestroy(graph);
  outcome.old_us = median(times[0]);
  outcome.new_us = median(times[1]);
  outcome.ratio = median(ratios);
  std::vector<double> deviations;
  for (const double ratio : ratios) deviations.push_back(std::fabs(ratio - outcome.ratio));
  constexpr double kMedianError = 1.4826 * 1.2533;  // of a normal distribution's median, from its median deviation
  outcome.noise = 2 * kMedianError * median(deviations) / std::sqrt(static_cast<double>(rounds));
  return outcome;
}

std::vector<Kind> kinds() {
  const Kind shapes[] = {{.dtype = "", .experts = 128, .n = 1536, .k = 2048, .top_k = 8},  // Qwen3-30B, gate_up
                         {.dtype = "", .experts = 8, .n = 4096, .k = 14336, .top_k = 2}};  // Mixtral-8x7B, down
  const Kind dtypes[] = {{.dtype = "bfloat16"},
                         {.dtype = "float16"},
                         {.dtype = "fp8_w8a8"},
                         {.dtype = "fp8_w8a8", .is_per_token = true},
                         {.dtype = "fp8_w8a8", .has_blocks = true},
                         {.dtype = "bfloat16", .has_blocks = true},
                         {.dtype = "int8_w8a8"},
                         {.dtype = "int8_w8a16"},
                         {.dtype = "float32", .is_tf32 = true},
                         {.dtype = "float32"}};
  std::vector<Kind> all;
  for (const Kind& shape : shapes) {
    for (Kind kind : dtypes) {
      kind.experts = shape.experts;
      kind.n = shape.n;
      kind.k = shape.k;
      kind.top_k = shape.top_k;
      all.push_back(kind);
    }
  }
  return all;
}

// Both revisions of a problem, or why there are none.
struct Pair {
  std::unique_ptr<Side> old_side, new_side;
  std::string why;
};

std::string name_of(const Kind& cell) {
  return cell.is_tf32 ? "tf32" : cell.dtype + (cell.has_blocks ? "_block" : cell.is_per_token ? "_per_token" : "");
}

int run(int rounds, std::int64_t most_tokens, const std::string& csv) {
  std::ofstream out;
  if (!csv.empty()) out.open(csv);
  out << "dtype,n,k,tokens,old_us,new_us,ratio,noise,same_bits,old_tile,new_tile\n";
  fmt::print("{:<22} {:>6} {:>6} {:>7} {:>10} {:>10} {:>7} {:>7}\n", "dtype", "N", "K", "tokens", "old us", "new us",
             "ratio", "noise");
  double sum = 0;
  int count = 0;
  int bad = 0;
  std::vector<std::future<Pair>> pairs;  // an older revision takes its time to prepare
  for (const Kind& kind : kinds()) {
    pairs.push_back(std::async(std::launch::async, [kind] {
      Pair pair;
      pair.old_side = make_old(kind, pair.why);
      if (pair.old_side) pair.new_side = make_new(kind, pair.why);
      return pair;
    }));
  }
  std::vector<Pair> prepared;
  for (auto& pair : pairs) prepared.push_back(pair.get());
  for (std::size_t i = 0; i < prepared.size() * std::size(kTokens); ++i) {
    const auto& [old_side, new_side, why] = prepared[i / std::size(kTokens)];
    const Kind kind = kinds()[i / std::size(kTokens)];
    const std::int64_t tokens = kTokens[i % std::size(kTokens)];
    if (!old_side || !new_side) {
      fmt::print("{}: {}\n", name_of(kind), why);
      ++bad;
      continue;
    }
    if (tokens > most_tokens) continue;
    const Cell cell{kind, tokens * kind.top_k};
    const Outcome o = compare(cell, *old_side, *new_side, rounds);
    const bool is_bad = !o.is_same || o.ratio - o.noise > 1.02;
    fmt::print("{:<22} {:>6} {:>6} {:>7} {:>10.2f} {:>10.2f} {:>7.4f} {:>7.4f}{}{}\n", name_of(cell), cell.n, cell.k,
               cell.rows / cell.top_k, o.old_us, o.new_us, o.ratio, o.noise, o.is_same ? "" : "  OTHER BITS",
               o.old_tile == o.new_tile ? "" : fmt::format("  other tile: {} | {}", o.old_tile, o.new_tile));
    std::fflush(stdout);
    out << fmt::format("{},{},{},{},{:.3f},{:.3f},{:.5f},{:.5f},{},{},{}\n", name_of(cell), cell.n, cell.k,
                       cell.rows / cell.top_k, o.old_us, o.new_us, o.ratio, o.noise, o.is_same, o.old_tile, o.new_tile);
    sum += std::log(o.ratio);
    ++count;
    bad += is_bad ? 1 : 0;
  }
  if (count > 0)
    fmt::print("{} cells: geometric mean of new / old {:.4f}, {} bad\n", count, std::exp(sum / count), bad);
  return bad == 0 ? 0 : 1;
}

}  // namespace
}  // namespace revisions

int main(int argc, char** argv) {
  int rounds = 20;
  std::int64_t most_tokens = 4096;
  std::string csv;
  CLI::App app("Two revisions of the library in turns; see the head of bench/revisions/main.cpp.");
  app.add_option("--rounds", rounds, "pairs of timings a cell")->check(CLI::PositiveNumber);
  app.add_option("--most-tokens", most_tokens, "leaves larger cells out");
  app.add_option("--csv", csv, "writes the cells there");
  CLI11_PARSE(app, argc, argv);
  return revisions::run(rounds, most_tokens, csv);
}
