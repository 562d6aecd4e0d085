#include "tune/tensors.hpp"

#include <algorithm>
#include <random>

#include "problem/sizes.hpp"

namespace expertile {
namespace {

// Long enough that no cache or predictor learns it, odd so that rows begin at different places of it.
constexpr std::size_t kPatternElements = (std::size_t{1} << 20) + 7;

// About normal, of mean 0 and deviation 1, from 64 random bits: the sum of four uniform numbers. Quicker than the
// library's own distribution: a tuning makes tensors for every tile that it verifies.
float nearly_normal(std::uint64_t bits) {
  constexpr double kDeviation = 37837.2;  // of a sum of four uniform 16-bit numbers: sqrt(4 * (2^32 - 1) / 12)
  std::int64_t sum = -2 * std::int64_t{65535};
  for (unsigned i = 0; i < 4; ++i) sum += static_cast<std::int64_t>(bits >> (16 * i) & 0xffffU);
  return static_cast<float>(static_cast<double>(sum) / kDeviation);
}

constexpr std::byte kPoison[] = {std::byte{0xff}};

std::vector<std::byte> random_elements(ElementType type, std::size_t count, std::mt19937_64& generator) {
  const std::size_t fresh = std::min(count, kPatternElements);
  std::vector<std::byte> out(static_cast<std::size_t>(bytes_of(type, static_cast<std::int64_t>(fresh))));
  const float spread = type == ElementType::int8 ? 40.0F : 1.0F;  // most of int8's range
  for (std::size_t i = 0; i < fresh; ++i) {
    store_element(type, spread * nearly_normal(generator()), out.data(), static_cast<std::int64_t>(i));
  }
  return out;
}

std::vector<std::byte> random_scales(std::size_t count, std::mt19937_64& generator) {
  std::uniform_real_distribution<float> uniform(0.01F, 0.1F);
  const std::size_t fresh = std::min(count, kPatternElements);
  std::vector<std::byte> out(fresh * sizeof(float));
  for (std::size_t i = 0; i < fresh; ++i) {
    store_element(ElementType::float32, uniform(generator), out.data(), static_cast<std::int64_t>(i));
  }
  return out;
}

// A buffer of `bytes` that repeats a pattern.
Result<Buffer> filled(const Backend& backend, std::size_t bytes, std::span<const std::byte> pattern) {
  auto buffer = backend.allocate(bytes);
  if (!buffer) return buffer;
  if (auto status = backend.fill(*buffer, pattern); !status) return fail(status.error());
  return buffer;
}

Result<Buffer> placed(const Backend& backend, const std::vector<std::int64_t>& values) {
  return filled(backend, values.size() * sizeof(std::int64_t), std::as_bytes(std::span(values)));
}

}  // namespace

Result<PlacedRouting> PlacedRouting::make(const Backend& backend, const RoutingSample& sample) {
  auto segments = placed(backend, sample.seg_indptr);
  if (!segments) return fail(segments.error());
  auto experts = placed(backend, sample.weight_indices);
  if (!experts) return fail(experts.error());
  PlacedRouting routing;
  routing.segments_ = std::move(*segments);
  routing.experts_ = std::move(*experts);
  routing.rows_ = sample.rows();
  return routing;
}

std::span<const std::int64_t> PlacedRouting::seg_indptr() const {
  return {static_cast<const std::int64_t*>(segments_.data()), segments_.bytes() / sizeof(std::int64_t)};
}
std::span<const std::int64_t> PlacedRouting::weight_indices() const {
  return {static_cast<const std::int64_t*>(experts_.data()), experts_.bytes() / sizeof(std::int64_t)};
}

Result<Tensors> Tensors::make(const Backend& backend, const Problem& problem, std::int64_t rows, std::uint64_t seed) {
  Tensors tensors;
  tensors.problem_ = problem;
  tensors.rows_ = rows;
  std::mt19937_64 generator(seed);
  const auto count = [](std::int64_t x, std::int64_t y) { return static_cast<std::size_t>(x * y); };
  const std::size_t in_a = count(rows, problem.k);
  const std::size_t in_b = count(problem.experts * problem.n, problem.k);
  const ElementType a = activation_type(problem.dtype);
  const ElementType b = weight_type(problem);
  const ScaleSizes scales = scale_sizes(problem, rows);
  const auto scale_bytes = [](std::int64_t entries) { return static_cast<std::size_t>(entries) * sizeof(float); };
  struct Part {
    Buffer& buffer;
    std::size_t bytes;
    std::vector<std::byte> pattern;
  };
  Part parts[] = {
      {tensors.a_, in_a * size_of(a), random_elements(a, in_a, generator)},
      {tensors.b_, in_b * size_of(b), random_elements(b, in_b, generator)},
      {tensors.c_, count(rows, problem.n) * size_of(output_type(problem.dtype)), {kPoison[0]}},
      {tensors.scale_a_, scale_bytes(scales.a), random_scales(static_cast<std::size_t>(scales.a), generator)},
      {tensors.scale_b_, scale_bytes(scales.b), random_scales(static_cast<std::size_t>(scales.b), generator)},
      {tensors.workspace_, backend.workspace_bytes(problem, rows), {kPoison[0]}}};
  for (Part& part : parts) {
    auto buffer = filled(backend, part.bytes, part.pattern);
    if (!buffer) return fail(buffer.error());
    part.buffer = std::move(*buffer);
  }
  return tensors;
}

Status Tensors::poison_c(const Backend& backend) const { return backend.fill(c_, kPoison); }

GroupedGemmArgs Tensors::args(const PlacedRouting& routing, std::int64_t rows) const {
  const auto floats = [](const Buffer& buffer) {
    return std::span<const float>(static_cast<const float*>(buffer.data()), buffer.bytes() / sizeof(float));
  };
  GroupedGemmArgs args;
  args.a = {a_.data(), rows, problem_.k, problem_.k, activation_type(problem_.dtype)};
  args.b = {b_.data(), problem_.experts * problem_.n, problem_.k, problem_.k, weight_type(problem_)};
  args.c = {c_.data(), rows, problem_.n, problem_.n, output_type(problem_.dtype)};
  args.seg_indptr = routing.seg_indptr();
  args.weight_indices = routing.weight_indices();
  args.scale_a = floats(scale_a_).first(static_cast<std::size_t>(scale_sizes(problem_, rows).a));
  args.scale_b = floats(scale_b_);
  args.workspace = {static_cast<std::byte*>(workspace_.data()), workspace_.bytes()};
  return args;
}

}  // namespace expertile
