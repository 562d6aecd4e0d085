#include "tune/tensors.hpp"

#include <algorithm>
#include <cstring>
#include <random>

#include "problem/sizes.hpp"

namespace expertile {
namespace {

// Long enough that no cache or predictor learns it, odd so that rows begin at different places of it.
constexpr std::size_t kPatternElements = (std::size_t{1} << 20) + 7;

std::vector<std::byte> random_elements(ElementType type, std::size_t count, std::mt19937_64& generator) {
  const std::size_t size = size_of(type);
  std::vector<std::byte> out(count * size);
  const std::size_t fresh = std::min(count, kPatternElements);
  std::normal_distribution<float> normal;
  const float spread = type == ElementType::int8 ? 40.0F : 1.0F;  // most of int8's range
  for (std::size_t i = 0; i < fresh; ++i) {
    store_element(type, spread * normal(generator), out.data(), static_cast<std::int64_t>(i));
  }
  for (std::size_t done = fresh; done < count; done += std::min(fresh, count - done)) {
    std::memcpy(out.data() + done * size, out.data(), std::min(fresh, count - done) * size);
  }
  return out;
}

std::vector<float> random_scales(std::int64_t count, std::mt19937_64& generator) {
  std::uniform_real_distribution<float> uniform(0.01F, 0.1F);
  std::vector<float> out(static_cast<std::size_t>(count));
  std::generate(out.begin(), out.end(), [&] { return uniform(generator); });
  return out;
}

}  // namespace

Tensors::Tensors(const Problem& problem, std::int64_t rows, std::uint64_t seed) : problem_(problem), rows_(rows) {
  std::mt19937_64 generator(seed);
  const auto count = [](std::int64_t x, std::int64_t y) { return static_cast<std::size_t>(x * y); };
  a_ = random_elements(activation_type(problem.dtype), count(rows, problem.k), generator);
  b_ = random_elements(weight_type(problem), count(problem.experts * problem.n, problem.k), generator);
  c_.assign(count(rows, problem.n) * size_of(output_type(problem.dtype)), std::byte{0xff});
  const ScaleSizes sizes = scale_sizes(problem, rows);
  scale_a_ = random_scales(sizes.a, generator);
  scale_b_ = random_scales(sizes.b, generator);
}

GroupedGemmArgs Tensors::args(const RoutingSample& sample) {
  GroupedGemmArgs args;
  args.a = {a_.data(), rows_, problem_.k, problem_.k, activation_type(problem_.dtype)};
  args.b = {b_.data(), problem_.experts * problem_.n, problem_.k, problem_.k, weight_type(problem_)};
  args.c = {c_.data(), rows_, problem_.n, problem_.n, output_type(problem_.dtype)};
  args.seg_indptr = sample.seg_indptr;
  args.weight_indices = sample.weight_indices;
  args.scale_a = scale_a_;
  args.scale_b = scale_b_;
  return args;
}

}  // namespace expertile
