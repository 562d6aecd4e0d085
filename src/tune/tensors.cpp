#include "tune/tensors.hpp"

#include <algorithm>
#include <cstring>
#include <random>

namespace expertile {
namespace {

// Long enough that no cache or predictor learns it, odd so that rows begin at different places of it.
constexpr std::size_t kPatternElements = (std::size_t{1} << 20) + 7;

struct ScaleSizes {
  std::int64_t a = 0;
  std::int64_t b = 0;
};

ScaleSizes scale_sizes(const Problem& problem, std::int64_t rows) {
  switch (scales_of(problem)) {
    case Scales::none:
      return {};
    case Scales::per_tensor:
      return {problem.experts, problem.experts};
    case Scales::per_token_channel:
      return {rows, problem.experts * problem.n};
    case Scales::per_channel:
      return {0, problem.experts * problem.n};
    case Scales::block:
      break;
  }
  const std::int64_t k_blocks = ceil_div(problem.k, problem.block_shape->k);
  const bool scales_a = !quantises_a(problem) && problem.dtype != DType::int8_w8a16;
  return {scales_a ? rows * k_blocks : 0, problem.experts * ceil_div(problem.n, problem.block_shape->n) * k_blocks};
}

void store(ElementType type, float value, std::byte* to) {
  const auto put = [to](auto bits) { std::memcpy(to, &bits, sizeof(bits)); };
  switch (type) {
    case ElementType::float16:
      return put(to_float16(value).bits);
    case ElementType::bfloat16:
      return put(to_bfloat16(value).bits);
    case ElementType::float32:
      return put(value);
    case ElementType::float8_e4m3:
      return put(to_float8_e4m3(value).bits);
    case ElementType::int8:
      break;
  }
  put(static_cast<std::int8_t>(std::clamp(value * 40.0F, -127.0F, 127.0F)));
}

std::vector<std::byte> random_elements(ElementType type, std::size_t count, std::mt19937_64& generator) {
  const std::size_t size = size_of(type);
  std::vector<std::byte> out(count * size);
  const std::size_t fresh = std::min(count, kPatternElements);
  std::normal_distribution<float> normal;
  for (std::size_t i = 0; i < fresh; ++i) store(type, normal(generator), out.data() + i * size);
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

double weight_bytes(const Problem& problem) {
  return static_cast<double>(problem.n) * static_cast<double>(problem.k) *
         static_cast<double>(size_of(weight_type(problem.dtype, problem.block_shape.has_value())));
}

double row_bytes(const Problem& problem) {
  return static_cast<double>(problem.k) * static_cast<double>(size_of(activation_type(problem.dtype))) +
         static_cast<double>(problem.n) * static_cast<double>(size_of(output_type(problem.dtype)));
}

}  // namespace

Tensors::Tensors(const Problem& problem, std::int64_t rows, std::uint64_t seed) : problem_(problem), rows_(rows) {
  std::mt19937_64 generator(seed);
  const auto count = [](std::int64_t x, std::int64_t y) { return static_cast<std::size_t>(x * y); };
  a_ = random_elements(activation_type(problem.dtype), count(rows, problem.k), generator);
  b_ = random_elements(weight_type(problem.dtype, problem.block_shape.has_value()),
                       count(problem.experts * problem.n, problem.k), generator);
  c_.assign(count(rows, problem.n) * size_of(output_type(problem.dtype)), std::byte{0xff});
  const ScaleSizes sizes = scale_sizes(problem, rows);
  scale_a_ = random_scales(sizes.a, generator);
  scale_b_ = random_scales(sizes.b, generator);
}

GroupedGemmArgs Tensors::args(const RoutingSample& sample) {
  GroupedGemmArgs args;
  args.a = {a_.data(), rows_, problem_.k, problem_.k, activation_type(problem_.dtype)};
  args.b = {b_.data(), problem_.experts * problem_.n, problem_.k, problem_.k,
            weight_type(problem_.dtype, problem_.block_shape.has_value())};
  args.c = {c_.data(), rows_, problem_.n, problem_.n, output_type(problem_.dtype)};
  args.seg_indptr = sample.seg_indptr;
  args.weight_indices = sample.weight_indices;
  args.scale_a = scale_a_;
  args.scale_b = scale_b_;
  return args;
}

double Tensors::bytes_needed(const Problem& problem, std::int64_t rows) {
  const ScaleSizes sizes = scale_sizes(problem, rows);
  return static_cast<double>(problem.experts) * weight_bytes(problem) + static_cast<double>(rows) * row_bytes(problem) +
         4.0 * static_cast<double>(sizes.a + sizes.b);
}

double Tensors::bytes_moved(const Problem& problem, double rows, double active_groups) {
  const auto experts = static_cast<double>(problem.experts);
  const double scales_a =
      static_cast<double>(scale_sizes(problem, 1).a) * (scales_of(problem) == Scales::per_tensor ? 0 : rows);
  const double scales_b = static_cast<double>(scale_sizes(problem, 1).b) / experts * active_groups;
  return active_groups * weight_bytes(problem) + rows * row_bytes(problem) + 4 * (scales_a + scales_b);
}

}  // namespace expertile
