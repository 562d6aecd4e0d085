#include "problem/routing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <sstream>

#include "files/files.hpp"

namespace expertile {
namespace {

constexpr std::int64_t kMostTraceBytes = 64 << 20;
constexpr std::size_t kMostTraceLine = 1 << 20;
constexpr std::size_t kMostTraceSamples = 4096;
constexpr std::int64_t kMostRowsAnExpert = std::int64_t{1} << 31;

std::mt19937_64 generator_of(const Routing& routing, std::int64_t experts, std::int64_t top_k, std::int64_t batch) {
  std::seed_seq seed{routing.seed, routing.seed >> 32, static_cast<std::uint64_t>(experts),
                     static_cast<std::uint64_t>(top_k), static_cast<std::uint64_t>(batch)};
  return std::mt19937_64(seed);
}

// Draws top_k experts by weight without replacement: the smallest of exponential clocks (Efraimidis and Spirakis).
class TokenRouter {
 public:
  TokenRouter(const Routing& routing, std::int64_t experts, std::mt19937_64& generator)
      : weights_(static_cast<std::size_t>(experts), 1.0), keys_(weights_.size()), generator_(generator) {
    if (routing.kind != Routing::Kind::zipf) return;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      weights_[i] = std::pow(static_cast<double>(i + 1), -routing.alpha);
    }
    std::shuffle(weights_.begin(), weights_.end(), generator_);  // the popular experts are not the first ones
  }
  void route(std::int64_t top_k, std::vector<std::int64_t>& counts) {
    std::exponential_distribution<double> clock(1.0);
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      keys_[i] = {clock(generator_) / weights_[i], static_cast<std::int64_t>(i)};
    }
    std::nth_element(keys_.begin(), keys_.begin() + (top_k - 1), keys_.end());
    for (std::int64_t i = 0; i < top_k; ++i) {
      ++counts[static_cast<std::size_t>(keys_[static_cast<std::size_t>(i)].second)];
    }
  }

 private:
  std::vector<double> weights_;
  std::vector<std::pair<double, std::int64_t>> keys_;
  std::mt19937_64& generator_;
};

RoutingSample to_sample(const std::vector<std::int64_t>& counts) {
  RoutingSample sample;
  sample.seg_indptr.push_back(0);
  for (std::size_t e = 0; e < counts.size(); ++e) {
    sample.seg_indptr.push_back(sample.seg_indptr.back() + counts[e]);
    sample.weight_indices.push_back(static_cast<std::int64_t>(e));
  }
  return sample;
}

Result<std::vector<std::int64_t>> parse_trace_line(std::string_view line, const std::string& where) {
  std::vector<std::int64_t> counts;
  for (std::size_t at = 0; (at = line.find_first_not_of(" \t,\r", at)) != std::string_view::npos;) {
    const std::size_t end = std::min(line.find_first_of(" \t,\r", at), line.size());
    std::int64_t value = 0;
    const auto parsed = std::from_chars(line.data() + at, line.data() + end, value);
    if (parsed.ec != std::errc() || parsed.ptr != line.data() + end || value < 0 || value > kMostRowsAnExpert) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{}: '{}' is not a row count; give a whole number from 0 to {}", where,
                              line.substr(at, std::min<std::size_t>(end - at, 40)), kMostRowsAnExpert));
    }
    counts.push_back(value);
    at = end;
  }
  return counts;
}

Result<std::vector<std::vector<std::int64_t>>> read_trace(const std::string& path) {
  const auto text = read_text(path, kMostTraceBytes);
  if (!text && text.error().code == ErrorCode::invalid_argument) return fail(text.error());
  if (!text) return fail(text.error().code, fmt::format("trace file '{}' cannot be read", path));
  std::istringstream in(*text);
  std::vector<std::vector<std::int64_t>> samples;
  std::size_t number = 0;
  for (std::string line; std::getline(in, line);) {
    const std::string where = fmt::format("trace file '{}', line {}", path, ++number);
    if (line.size() > kMostTraceLine || samples.size() >= kMostTraceSamples) {
      return fail(ErrorCode::invalid_argument, fmt::format("{}: too large; at most {} samples of {} characters", where,
                                                           kMostTraceSamples, kMostTraceLine));
    }
    auto counts = parse_trace_line(line, where);
    if (!counts) return fail(counts.error());
    if (counts->empty()) continue;
    if (std::all_of(counts->begin(), counts->end(), [](std::int64_t c) { return c == 0; })) {
      return fail(ErrorCode::invalid_argument, fmt::format("{}: no rows; at least one count must be above 0", where));
    }
    samples.push_back(std::move(*counts));
  }
  if (samples.empty()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("trace file '{}' is empty; give one line of per-expert row counts per sample", path));
  }
  return samples;
}

}  // namespace

std::int64_t RoutingSample::active_groups() const {
  std::int64_t active = 0;
  for (std::size_t g = 0; g + 1 < seg_indptr.size(); ++g) active += seg_indptr[g + 1] > seg_indptr[g] ? 1 : 0;
  return active;
}

Result<Routing> parse_routing(std::string_view text, std::uint64_t seed) {
  Routing routing;
  routing.seed = seed;
  routing.text = std::string(text);
  if (text == "uniform") return routing;
  if (text.starts_with("zipf:")) {
    const std::string_view number = text.substr(5);
    const auto parsed = std::from_chars(number.data(), number.data() + number.size(), routing.alpha);
    const bool whole = parsed.ec == std::errc() && parsed.ptr == number.data() + number.size();
    if (!whole || !(routing.alpha >= 0 && routing.alpha <= 10)) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("routing '{}': '{}' is not an exponent; give a number from 0 to 10", text, number));
    }
    routing.kind = Routing::Kind::zipf;
    return routing;
  }
  if (text.starts_with("trace:") && text.size() > 6) {
    auto trace = read_trace(std::string(text.substr(6)));
    if (!trace) return fail(trace.error());
    routing.kind = Routing::Kind::trace;
    routing.trace = std::move(*trace);
    return routing;
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("routing '{}' is not known; choose uniform, zipf:ALPHA or trace:FILE", text));
}

Result<std::vector<RoutingSample>> routing_samples(const Routing& routing, std::int64_t experts, std::int64_t top_k,
                                                   std::int64_t batch, int count) {
  std::vector<RoutingSample> samples;
  for (std::size_t i = 0; i < routing.trace.size(); ++i) {
    if (static_cast<std::int64_t>(routing.trace[i].size()) != experts) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("routing '{}': sample {} has {} row counts, the problem has {} experts", routing.text,
                              i + 1, routing.trace[i].size(), experts));
    }
    samples.push_back(to_sample(routing.trace[i]));
  }
  if (routing.kind == Routing::Kind::trace) return samples;
  if (top_k < 1 || top_k > experts) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("top_k is {}, it must be from 1 to the {} experts", top_k, experts));
  }
  std::mt19937_64 generator = generator_of(routing, experts, top_k, batch);
  for (int i = 0; i < count; ++i) {
    TokenRouter router(routing, experts, generator);
    std::vector<std::int64_t> counts(static_cast<std::size_t>(experts), 0);
    for (std::int64_t token = 0; token < batch; ++token) router.route(top_k, counts);
    samples.push_back(to_sample(counts));
  }
  return samples;
}

}  // namespace expertile
