#include "run/options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "problem/sizes.hpp"
#include "run/layer.hpp"
#include "run/option_values.hpp"
#include "store/config_file.hpp"

namespace expertile::run {
namespace {

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
  const auto layer = make_layer(text, settings.notices);
  if (!layer) return fail(layer.error());
  const auto share = share_of_a_rank(*layer, text, settings.notices);
  if (!share) return fail(share.error());
  auto problems = make_problems(*share, text);
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
  for (const auto& [projection, problem, activation] : settings.problems) {
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
  if (!text.dry_run) {  // which makes no tensors
    if (auto status = check_memory(*settings, (*backend)->info()); !status) return fail(status.error());
  }
  return Session{std::move(*settings), std::move(*backend)};
}

}  // namespace expertile::run
