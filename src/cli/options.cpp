#include "cli/options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "problem/model.hpp"
#include "problem/sizes.hpp"
#include "store/config_file.hpp"

namespace expertile::cli {
namespace {

constexpr std::int64_t kLargestSize = std::int64_t{1} << 31;
constexpr std::int64_t kDefaultHiddenSize = 4096;
constexpr std::int64_t kDefaultExperts = 8;
constexpr std::int64_t kDefaultTopK = 2;
constexpr std::int64_t kLargestDefaultBatch = 2048;

template <class Integer>
std::optional<Integer> whole_number(std::string_view text) {
  Integer value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<std::int64_t> parse_size(const char* option, std::string_view text, std::int64_t largest = kLargestSize) {
  const auto value = whole_number<std::int64_t>(text);
  if (value && *value >= 1 && *value <= largest) return *value;
  return fail(ErrorCode::invalid_argument,
              fmt::format("{} '{}' is not a size; give a whole number from 1 to {}", option, text, largest));
}

Result<std::optional<std::int64_t>> parse_optional_size(const char* option, const std::optional<std::string>& text) {
  if (!text) return std::optional<std::int64_t>{};
  const auto value = parse_size(option, *text);
  if (!value) return fail(value.error());
  return std::optional<std::int64_t>{*value};
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto comma = text.find(',');
    parts.push_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

Result<std::vector<std::int64_t>> parse_batches(const std::optional<std::string>& text) {
  std::vector<std::int64_t> batches;
  if (!text) {
    for (std::int64_t batch = 1; batch <= kLargestDefaultBatch; batch *= 2) batches.push_back(batch);
    return batches;
  }
  for (const std::string_view part : split(*text)) {
    const auto batch = parse_size("--batch-size", part);
    if (!batch) return fail(batch.error());
    batches.push_back(*batch);
  }
  std::sort(batches.begin(), batches.end());
  batches.erase(std::unique(batches.begin(), batches.end()), batches.end());
  return batches;
}

Result<std::optional<BlockShape>> parse_block_shape(const std::optional<std::string>& text) {
  if (!text) return std::optional<BlockShape>{};
  const auto parts = split(*text);
  const auto good = [](std::optional<std::int64_t> value) { return value && *value >= 1 && *value <= kLargestSize; };
  if (parts.size() == 2) {
    const auto n = whole_number<std::int64_t>(parts[0]);
    const auto k = whole_number<std::int64_t>(parts[1]);
    if (good(n) && good(k)) return std::optional<BlockShape>{BlockShape{*n, *k}};
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("--block-shape '{}' is not a block shape; give two whole numbers from 1 to {}, e.g. 128,128",
                          *text, kLargestSize));
}

// The parsed numbers, before anything is derived from them.
struct Numbers {
  std::optional<std::int64_t> hidden_size, experts, top_k, intermediate;
  std::int64_t tp = 1;
  std::int64_t ep = 1;
  std::optional<BlockShape> block_shape;
};

Result<Numbers> parse_numbers(const TextOptions& text) {
  Numbers numbers;
  std::optional<std::int64_t> tp, ep;
  struct Field {
    const char* option;
    const std::optional<std::string>& text;
    std::optional<std::int64_t>& value;
  };
  const Field fields[] = {{"--hidden-size", text.hidden_size, numbers.hidden_size},
                          {"--num-experts", text.num_experts, numbers.experts},
                          {"--top-k", text.top_k, numbers.top_k},
                          {"--intermediate-size", text.intermediate_size, numbers.intermediate},
                          {"--tp-size", text.tp_size, tp},
                          {"--ep-size", text.ep_size, ep}};
  for (const Field& field : fields) {
    const auto value = parse_optional_size(field.option, field.text);
    if (!value) return fail(value.error());
    field.value = *value;
  }
  numbers.tp = tp.value_or(1);
  numbers.ep = ep.value_or(1);
  const auto block_shape = parse_block_shape(text.block_shape);
  if (!block_shape) return fail(block_shape.error());
  numbers.block_shape = *block_shape;
  return numbers;
}

// What is quantised how, and the model's numbers where there is a model.
struct Layer {
  std::int64_t hidden_size = kDefaultHiddenSize;
  std::int64_t experts = kDefaultExperts;
  std::int64_t top_k = kDefaultTopK;
  std::int64_t intermediate = 0;
  DType dtype = DType::float16;
  std::optional<BlockShape> block_shape;
  std::optional<Scales> scales;
};

Result<std::optional<DType>> parse_dtype_option(const TextOptions& text) {
  if (!text.dtype || (*text.dtype == "auto" && text.model)) return std::optional<DType>{};
  if (*text.dtype == "auto") {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--dtype 'auto' takes the model's dtype; give --model too, or {}", dtype_choices()));
  }
  const auto dtype = parse_dtype(*text.dtype);
  if (!dtype) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--dtype '{}' is not known; choose auto, {}", *text.dtype, dtype_choices()));
  }
  return std::optional<DType>{*dtype};
}

void take_quantisation(const ModelSpec& model, std::optional<DType> dtype, Layer& layer,
                       std::vector<std::string>& notices) {
  layer.dtype = dtype.value_or(model.dtype);
  if (layer.dtype != model.dtype) {
    // the model's blocks and scales describe weights of the model's own dtype
    notices.push_back(fmt::format("--dtype {} wins over the model's {}{}", name(layer.dtype), name(model.dtype),
                                  model.block_shape ? "; the model's block_shape is dropped" : ""));
    return;
  }
  layer.block_shape = model.block_shape;
  layer.scales = model.scales;
}

Status take_model(const TextOptions& text, const Numbers& numbers, std::optional<DType> dtype, Layer& layer,
                  std::vector<std::string>& notices) {
  const auto model = load_model(*text.model);
  if (!model) return fail(model.error());
  notices.insert(notices.end(), model->notices.begin(), model->notices.end());
  if (numbers.hidden_size) {
    notices.push_back(fmt::format("--hidden-size {} is ignored: the model's hidden size is {}", *numbers.hidden_size,
                                  model->hidden_size));
  }
  layer.hidden_size = model->hidden_size;
  layer.experts = numbers.experts.value_or(model->experts.value_or(kDefaultExperts));
  layer.top_k = numbers.top_k.value_or(model->top_k.value_or(kDefaultTopK));
  layer.intermediate = numbers.intermediate.value_or(model->intermediate.value_or(layer.hidden_size / 2));
  take_quantisation(*model, dtype, layer, notices);
  if (!numbers.block_shape) return {};
  if (layer.block_shape) {
    notices.push_back(fmt::format("--block-shape {},{} is ignored: the model's own is {},{}", numbers.block_shape->n,
                                  numbers.block_shape->k, layer.block_shape->n, layer.block_shape->k));
    return {};
  }
  layer.block_shape = numbers.block_shape;
  layer.scales.reset();  // blocks replace the coarser scales that the model names
  return {};
}

Result<Layer> make_layer(const TextOptions& text, const Numbers& numbers, std::vector<std::string>& notices) {
  const auto dtype = parse_dtype_option(text);
  if (!dtype) return fail(dtype.error());
  Layer layer;
  if (text.model) {
    if (auto status = take_model(text, numbers, *dtype, layer, notices); !status) return fail(status.error());
    return layer;
  }
  layer.hidden_size = numbers.hidden_size.value_or(kDefaultHiddenSize);
  layer.experts = numbers.experts.value_or(kDefaultExperts);
  layer.top_k = numbers.top_k.value_or(kDefaultTopK);
  layer.intermediate = numbers.intermediate.value_or(layer.hidden_size / 2);
  layer.dtype = dtype->value_or(DType::float16);
  layer.block_shape = numbers.block_shape;
  return layer;
}

// One rank's share of the layer.
Status split_over_ranks(const Numbers& numbers, Layer& layer, std::vector<std::string>& notices) {
  if (layer.intermediate < 1) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--intermediate-size defaults to half of hidden size {}, which is 0; give "
                            "--intermediate-size",
                            layer.hidden_size));
  }
  if (layer.top_k > layer.experts) {
    return fail(ErrorCode::invalid_argument, fmt::format("--top-k '{}' is more than the {} experts; give at most {}",
                                                         layer.top_k, layer.experts, layer.experts));
  }
  if (layer.intermediate % numbers.tp != 0) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--tp-size '{}' does not divide the intermediate size {}; give a divisor of {}", numbers.tp,
                            layer.intermediate, layer.intermediate));
  }
  if (layer.experts % numbers.ep != 0) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--ep-size '{}' does not divide the {} experts; give a divisor of {}", numbers.ep,
                            layer.experts, layer.experts));
  }
  layer.intermediate /= numbers.tp;
  layer.experts /= numbers.ep;
  if (layer.top_k > layer.experts) {
    notices.push_back(fmt::format("top_k {} is taken as {}: a rank of --ep-size {} has {} experts", layer.top_k,
                                  layer.experts, numbers.ep, layer.experts));
    layer.top_k = layer.experts;
  }
  return {};
}

Result<std::vector<NamedProblem>> make_problems(const Layer& layer, const TextOptions& text) {
  const std::string wanted = text.projection.value_or("both");
  if (wanted != "gate_up" && wanted != "down" && wanted != "both") {
    return fail(ErrorCode::invalid_argument,
                fmt::format("--projection '{}' is not known; choose gate_up, down or both", wanted));
  }
  Problem problem;
  problem.experts = layer.experts;
  problem.dtype = layer.dtype;
  problem.block_shape = layer.block_shape;
  problem.scales = layer.scales;
  problem.top_k = layer.top_k;
  problem.hidden_size = layer.hidden_size;
  problem.tf32 = text.tf32;
  std::vector<NamedProblem> problems;
  if (wanted != "down") {
    problem.n = 2 * layer.intermediate;
    problem.k = layer.hidden_size;
    problems.push_back({"gate_up", problem});
  }
  if (wanted != "gate_up") {
    problem.n = layer.hidden_size;
    problem.k = layer.intermediate;
    problems.push_back({"down", problem});
  }
  for (const NamedProblem& one : problems) {
    if (auto status = validate(one.problem); !status) return fail(status.error());
  }
  return problems;
}

// A trace says how many rows there are, so it also says which batch size it stands for.
Result<std::vector<std::int64_t>> trace_batch(const Routing& routing, const Problem& problem) {
  const auto samples = routing_samples(routing, problem.experts, problem.top_k, 1, 1);
  if (!samples) return fail(samples.error());
  double rows = 0;
  for (const RoutingSample& sample : *samples) rows += static_cast<double>(sample.rows());
  const double batch = rows / static_cast<double>(samples->size()) / static_cast<double>(problem.top_k);
  return std::vector<std::int64_t>{std::max<std::int64_t>(1, std::llround(batch))};
}

Status take_routing(const TextOptions& text, Settings& settings) {
  const std::string seed_text = text.seed.value_or("0");
  const auto seed = whole_number<std::uint64_t>(seed_text);
  if (!seed) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("--seed '{}' is not a seed; give a whole number from 0 to 18446744073709551615", seed_text));
  }
  auto routing = parse_routing(text.routing.value_or("uniform"), *seed);
  if (!routing) return fail(routing.error());
  settings.routing = std::move(*routing);
  // a trace that does not fit the problem is found here, before any work
  const auto samples =
      routing_samples(settings.routing, settings.problems[0].problem.experts, settings.problems[0].problem.top_k, 1, 1);
  if (!samples) return fail(samples.error());
  if (settings.routing.kind != Routing::Kind::trace) return {};
  if (text.batch_size) {
    settings.notices.push_back(fmt::format("the rows come from {}; --batch-size {} only names the keys in the file",
                                           settings.routing.text, *text.batch_size));
    return {};
  }
  auto batches = trace_batch(settings.routing, settings.problems[0].problem);
  if (!batches) return fail(batches.error());
  settings.batches = std::move(*batches);
  settings.notices.push_back(
      fmt::format("the samples of {} stand for batch size {}, their mean", settings.routing.text, settings.batches[0]));
  return {};
}

}  // namespace

Result<int> parse_threads(const TextOptions& text) {
  if (!text.threads) return 0;
  const auto threads = parse_size("--threads", *text.threads, 4096);
  if (!threads) return fail(threads.error());
  return static_cast<int>(*threads);
}

Result<std::filesystem::path> parse_config_dir(const TextOptions& text) {
  if (text.output_dir && text.output_dir->empty()) {
    return fail(ErrorCode::invalid_argument, "--output-dir '' is empty; give a directory");
  }
  return config_directory(text.output_dir.value_or(""));
}

Result<Settings> resolve(const TextOptions& text) {
  Settings settings;
  const auto numbers = parse_numbers(text);
  if (!numbers) return fail(numbers.error());
  auto batches = parse_batches(text.batch_size);
  if (!batches) return fail(batches.error());
  settings.batches = std::move(*batches);
  const auto threads = parse_threads(text);
  if (!threads) return fail(threads.error());
  settings.threads = *threads;
  auto config_dir = parse_config_dir(text);
  if (!config_dir) return fail(config_dir.error());
  settings.config_dir = std::move(*config_dir);
  settings.device = text.device.value_or("auto");
  auto layer = make_layer(text, *numbers, settings.notices);
  if (!layer) return fail(layer.error());
  if (auto status = split_over_ranks(*numbers, *layer, settings.notices); !status) return fail(status.error());
  auto problems = make_problems(*layer, text);
  if (!problems) return fail(problems.error());
  settings.problems = std::move(*problems);
  if (auto status = take_routing(text, settings); !status) return fail(status.error());
  return settings;
}

namespace {

Status check_memory(const Settings& settings, const DeviceInfo& device) {
  if (device.free_memory_bytes <= 0) return {};
  const auto gib = [](double bytes) { return bytes / (1 << 30); };
  const auto memory = static_cast<double>(device.free_memory_bytes);
  for (const auto& [projection, problem] : settings.problems) {
    const double weights = tensor_bytes(problem, 0);
    if (weights > memory) {
      return fail(
          ErrorCode::invalid_argument,
          fmt::format("{} with E={}, N={}, K={} needs {:.1f} GiB for the weights, {} has {:.1f} GiB; give a "
                      "smaller problem or a larger --ep-size or --tp-size",
                      projection, problem.experts, problem.n, problem.k, gib(weights), device.name, gib(memory)));
    }
    if (settings.routing.kind == Routing::Kind::trace) continue;
    for (const std::int64_t batch : settings.batches) {
      const double bytes = tensor_bytes(problem, static_cast<double>(batch) * static_cast<double>(problem.top_k));
      if (bytes <= memory) continue;
      return fail(ErrorCode::invalid_argument,
                  fmt::format("--batch-size '{}' needs {:.1f} GiB for {}, {} has {:.1f} GiB; give a smaller one", batch,
                              gib(bytes), projection, device.name, gib(memory)));
    }
  }
  return {};
}

}  // namespace

Result<Session> open_session(const TextOptions& text) {
  auto settings = resolve(text);
  if (!settings) return fail(settings.error());
  auto backend = open_backend(settings->device, settings->threads);
  if (!backend) return fail(backend.error());
  if (auto status = check_memory(*settings, (*backend)->info()); !status) return fail(status.error());
  return Session{std::move(*settings), std::move(*backend)};
}

}  // namespace expertile::cli
