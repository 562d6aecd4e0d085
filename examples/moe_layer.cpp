// One MoE layer with the public API alone: route, gate and up, SiLU, down, combine.
//
//   example_moe_layer [hidden size] [batch size] [configuration directory] [cpu, cuda or cuda:I]
//
// Run it before and after `expertile tune --hidden-size H --batch-size B` and compare the lines it prints.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <expertile/grouped_gemm.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "device_memory.hpp"

namespace {

using example::Placed;
using expertile::Float16;

constexpr std::int64_t kExperts = 8;
constexpr std::int64_t kTopK = 2;

std::vector<Float16> random_halves(std::int64_t count, float spread, std::mt19937_64& random) {
  std::vector<Float16> values(static_cast<std::size_t>(count));
  for (Float16& value : values) {
    const auto bits = static_cast<std::int32_t>(random() >> 40);  // 24 bits, as many as a float holds
    value = expertile::to_float16((static_cast<float>(bits) / (1 << 23) - 1.0F) * spread);
  }
  return values;
}

// Which token, with which weight, stands in each row once rows are sorted by expert.
struct Routed {
  std::vector<std::int64_t> token;       // [M]
  std::vector<float> weight;             // [M]
  std::vector<std::int64_t> seg_indptr;  // [E + 1]
  std::vector<std::int64_t> experts;     // [E]
};

Routed route(std::int64_t batch, std::mt19937_64& random) {
  std::vector<std::vector<std::int64_t>> tokens(kExperts);
  for (std::int64_t token = 0; token < batch; ++token) {
    const auto first = static_cast<std::int64_t>(random() % kExperts);
    const auto second = (first + 1 + static_cast<std::int64_t>(random() % (kExperts - 1))) % kExperts;
    tokens[static_cast<std::size_t>(first)].push_back(token);
    tokens[static_cast<std::size_t>(second)].push_back(token);
  }
  Routed routed;
  routed.seg_indptr.push_back(0);
  for (std::int64_t expert = 0; expert < kExperts; ++expert) {
    for (const std::int64_t token : tokens[static_cast<std::size_t>(expert)]) routed.token.push_back(token);
    routed.seg_indptr.push_back(static_cast<std::int64_t>(routed.token.size()));
    routed.experts.push_back(expert);
  }
  routed.weight.assign(routed.token.size(), 1.0F / kTopK);
  return routed;
}

const char* why(expertile::Match match) {
  switch (match) {
    case expertile::Match::exact:
      return "the file has this shape, this device and this batch size";
    case expertile::Match::nearest_batch:
      return "the file has this shape and this device; the nearest tuned batch size was taken";
    case expertile::Match::other_top_k:
    case expertile::Match::other_threads:
    case expertile::Match::other_scales:
    case expertile::Match::other_instructions:
      return "the file has this shape and this device, but this tile was tuned for something else";
    case expertile::Match::other_shape:
      return "no file for this shape; one for this device stood in";
    case expertile::Match::other_device:
      return "no file for this device; a general one stood in";
    case expertile::Match::built_in:
      return "no file was found; the built-in heuristic chose";
  }
  return "";
}

void print_selection(const char* projection, const expertile::GroupedGemm& gemm, std::int64_t rows) {
  const expertile::Selection selection = gemm.selection(rows);
  const std::string match(expertile::name(selection.match));
  const expertile::TileConfig& tile = selection.tile;
  std::printf("%s\n", projection);
  std::printf("  match: %s\n", match.c_str());
  std::printf("  tile: BLOCK_SIZE_M=%d, BLOCK_SIZE_N=%d, BLOCK_SIZE_K=%d, GROUP_SIZE_M=%d\n", tile.block_size_m,
              tile.block_size_n, tile.block_size_k, tile.group_size_m);
  std::printf("  file: %s\n", selection.file.empty() ? "none" : selection.file.c_str());
  if (selection.file.empty()) std::printf("  looked for: %s\n", gemm.wanted_file().c_str());
  std::printf("  why: %s\n", why(selection.match));
  if (!selection.differs.empty()) std::printf("  differs: %s\n", selection.differs.c_str());
}

int report(const expertile::Error& error) {
  std::fprintf(stderr, "example_moe_layer: %s\n", error.message.c_str());
  return expertile::exit_status(error);
}

// gate_up: [rows, 2 * width] -> silu(gate) * up: [rows, width]
std::vector<Float16> activate(const std::vector<Float16>& gate_up, std::int64_t rows, std::int64_t width) {
  std::vector<Float16> out(static_cast<std::size_t>(rows * width));
  for (std::int64_t row = 0; row < rows; ++row) {
    const Float16* gate = gate_up.data() + row * 2 * width;
    for (std::int64_t i = 0; i < width; ++i) {
      const float g = expertile::to_float(gate[i]);
      const float value = g / (1.0F + std::exp(-g)) * expertile::to_float(gate[width + i]);
      out[static_cast<std::size_t>(row * width + i)] = expertile::to_float16(value);
    }
  }
  return out;
}

int run_layer(std::int64_t hidden, std::int64_t batch, const std::string& config_dir, const std::string& device) {
  const std::int64_t width = hidden / 2;
  const bool on_gpu = device != "cpu";
  const expertile::PrepareOptions options{.device = device, .config_dir = config_dir};
  // Prepared once: the configuration file is looked up here and nowhere else.
  const auto gate_up = expertile::GroupedGemm::prepare(
      {.experts = kExperts, .n = 2 * width, .k = hidden, .top_k = kTopK, .hidden_size = hidden}, options);
  if (!gate_up) return report(gate_up.error());
  const auto down = expertile::GroupedGemm::prepare(
      {.experts = kExperts, .n = hidden, .k = width, .top_k = kTopK, .hidden_size = hidden}, options);
  if (!down) return report(down.error());

  std::mt19937_64 random(0);
  const auto spread = 1.0F / std::sqrt(static_cast<float>(hidden));
  const auto tokens = random_halves(batch * hidden, 1.0F, random);                               // [batch, hidden]
  Placed gate_up_weights(random_halves(kExperts * 2 * width * hidden, spread, random), on_gpu);  // [E, 2 width, hidden]
  Placed down_weights(random_halves(kExperts * hidden * width, spread, random), on_gpu);         // [E, hidden, width]
  const Routed routed = route(batch, random);
  const auto rows = static_cast<std::int64_t>(routed.token.size());
  Placed segments(routed.seg_indptr, on_gpu);
  Placed experts(routed.experts, on_gpu);

  std::vector<Float16> by_expert(static_cast<std::size_t>(rows * hidden));  // [rows, hidden]
  for (std::int64_t row = 0; row < rows; ++row) {
    std::copy_n(tokens.data() + routed.token[static_cast<std::size_t>(row)] * hidden, hidden,
                by_expert.data() + row * hidden);
  }
  Placed sorted(std::move(by_expert), on_gpu);
  Placed gate_up_out(std::vector<Float16>(static_cast<std::size_t>(rows * 2 * width)), on_gpu);
  auto status = (*gate_up)({.a = expertile::view(sorted.data(), rows, hidden),
                            .b = expertile::view(gate_up_weights.data(), kExperts * 2 * width, hidden),
                            .c = expertile::view(gate_up_out.data(), rows, 2 * width),
                            .seg_indptr = segments.view(),
                            .weight_indices = experts.view(),
                            .scale_a = {},
                            .scale_b = {}});
  if (!status) return report(status.error());
  // An engine would do this where the data is; here it shows the layer, not how to be fast.
  Placed activated(activate(gate_up_out.fetch(), rows, width), on_gpu);
  Placed placed_out(std::vector<Float16>(static_cast<std::size_t>(rows * hidden)), on_gpu);
  status = (*down)({.a = expertile::view(activated.data(), rows, width),
                    .b = expertile::view(down_weights.data(), kExperts * hidden, width),
                    .c = expertile::view(placed_out.data(), rows, hidden),
                    .seg_indptr = segments.view(),
                    .weight_indices = experts.view(),
                    .scale_a = {},
                    .scale_b = {}});
  if (!status) return report(status.error());
  const std::vector<Float16>& down_out = placed_out.fetch();

  std::vector<float> output(static_cast<std::size_t>(batch * hidden), 0.0F);  // [batch, hidden]
  for (std::int64_t row = 0; row < rows; ++row) {
    const auto r = static_cast<std::size_t>(row);
    float* out = output.data() + routed.token[r] * hidden;
    for (std::int64_t i = 0; i < hidden; ++i) {
      out[i] += routed.weight[r] *
                expertile::to_float(down_out[r * static_cast<std::size_t>(hidden) + static_cast<std::size_t>(i)]);
    }
  }
  double sum_of_squares = 0;
  for (const float value : output) sum_of_squares += static_cast<double>(value) * value;

  print_selection("gate_up", *gate_up, rows);
  print_selection("down", *down, rows);
  std::printf("output: %lld x %lld, root mean square %.6g\n", static_cast<long long>(batch),
              static_cast<long long>(hidden), std::sqrt(sum_of_squares / static_cast<double>(output.size())));
  return 0;
}

// A size from 2 to 65536; 0 for anything else.
std::int64_t parse_size(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool good = error == std::errc{} && end == text.data() + text.size() && value >= 1 && value <= 65536;
  return good ? value : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::int64_t hidden = argc > 1 ? parse_size(argv[1]) : 1024;
  const std::int64_t batch = argc > 2 ? parse_size(argv[2]) : 16;
  const std::string device = argc > 4 ? argv[4] : "cpu";
  if (hidden < 2 || batch < 1 || argc > 5) {
    std::fputs(
        "usage: example_moe_layer [hidden size 2..65536] [batch size 1..65536] [configuration directory] "
        "[cpu, cuda or cuda:I]\n",
        stderr);
    return 2;
  }
  if (device != "cpu" && !example::has_cuda()) {
    std::fputs("example_moe_layer: built without the CUDA toolkit, so it cannot place tensors on a GPU; give cpu\n",
               stderr);
    return 2;
  }
  return run_layer(hidden, batch, argc > 3 ? argv[3] : "", device);
}
