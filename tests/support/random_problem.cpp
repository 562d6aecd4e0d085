#include "support/random_problem.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "plan/kernel_plan.hpp"
#include "problem/sizes.hpp"

namespace expertile::testing {
namespace {

constexpr std::byte kPoison{0xa5};

std::vector<std::byte> random_tensor(ElementType type, std::int64_t count, std::mt19937_64& generator) {
  std::vector<std::byte> out(static_cast<std::size_t>(count) * size_of(type));
  std::normal_distribution<float> normal;
  std::uniform_int_distribution<int> byte(-128, 127);
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = type == ElementType::int8 ? static_cast<float>(byte(generator)) : normal(generator);
    store_element(type, value, out.data(), i);
  }
  return out;
}

std::vector<float> random_scales(std::int64_t count, std::mt19937_64& generator) {
  std::uniform_real_distribution<float> exponent(-6, 2);
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& scale : out) scale = std::exp2(exponent(generator));
  return out;
}

template <class T>
T pick(std::mt19937_64& generator, std::initializer_list<T> values) {
  return values.begin()[std::uniform_int_distribution<std::size_t>(0, values.size() - 1)(generator)];
}

// Empty groups, one row, everything in one group, or anything.
std::int64_t random_group(std::mt19937_64& generator, const Wishes& wishes) {
  if (wishes.has_many_tiles) return pick<std::int64_t>(generator, {0, 130, 385, 520, 700, 1290});
  if (wishes.is_large) return pick<std::int64_t>(generator, {0, 1, 7, 16, 31, 64, 65, 130});
  return pick<std::int64_t>(generator, {0, 0, 1, 1, 2, 3, 5, 8, 13});
}

// Of no group. From a generator of its own, so that all else is what it was without them.
std::int64_t rows_before(std::uint64_t seed) {
  constexpr std::uint64_t kOther = 0x9e3779b97f4a7c15;
  std::mt19937_64 generator(seed ^ kOther);
  return pick<std::int64_t>(generator, {0, 1, 2, 5, 37});
}

}  // namespace

std::vector<Combination> all_combinations() {
  using E = ElementType;
  return {{"float16", DType::float16, Scales::none, E::float16},
          {"float16_block", DType::float16, Scales::block, E::float16},
          {"bfloat16", DType::bfloat16, Scales::none, E::bfloat16},
          {"bfloat16_block", DType::bfloat16, Scales::block, E::bfloat16},
          {"float32", DType::float32, Scales::none, E::float32},
          {"tf32", DType::float32, Scales::none, E::float32, true},
          {"float32_block", DType::float32, Scales::block, E::float32},
          {"fp8_w8a8_per_tensor", DType::fp8_w8a8, Scales::per_tensor, E::float8_e4m3},
          {"fp8_w8a8_per_token_channel", DType::fp8_w8a8, Scales::per_token_channel, E::float8_e4m3},
          {"fp8_w8a8_block", DType::fp8_w8a8, Scales::block, E::float8_e4m3},
          {"int8_w8a8_per_token_channel", DType::int8_w8a8, Scales::per_token_channel, E::int8},
          {"int8_w8a8_block", DType::int8_w8a8, Scales::block, E::int8},
          {"int8_w8a16_float16", DType::int8_w8a16, Scales::per_channel, E::float16},
          {"int8_w8a16_bfloat16", DType::int8_w8a16, Scales::per_channel, E::bfloat16},
          {"int8_w8a16_float16_block", DType::int8_w8a16, Scales::block, E::float16},
          {"int8_w8a16_bfloat16_block", DType::int8_w8a16, Scales::block, E::bfloat16}};
}

Combination combination_named(const std::string& name) {
  for (const Combination& one : all_combinations()) {
    if (one.name == name) return one;
  }
  std::abort();  // a typing error in a test
}

RandomProblem::RandomProblem(const Combination& combination, std::uint64_t seed, const Wishes& wishes)
    : combination_(combination) {
  std::mt19937_64 generator(seed);
  problem_.dtype = combination.dtype;
  problem_.scales = combination.scales;
  problem_.tf32 = combination.tf32;
  problem_.experts = pick<std::int64_t>(generator, {1, 2, 3, 5});
  problem_.n = pick<std::int64_t>(generator, {1, 2, 3, 7, 13, 31, 64, 65, 97, 128});
  problem_.k = pick<std::int64_t>(generator, {1, 2, 3, 17, 31, 32, 64, 65, 97, 128, 130, 257, 384});
  if (wishes.is_large) {
    problem_.n = pick<std::int64_t>(generator, {96, 200, 256, 264, 391});
    problem_.k = pick<std::int64_t>(generator, {256, 333, 512, 640, 1000});
  }
  if (wishes.has_many_tiles) {
    problem_.n = pick<std::int64_t>(generator, {1100, 1500, 2048});
    problem_.k = pick<std::int64_t>(generator, {64, 200, 384});
  }
  if (wishes.is_aligned) problem_.k = ceil_div(problem_.k, 16) * 16;
  if (combination.scales == Scales::block) {
    problem_.block_shape = pick<BlockShape>(generator, {{128, 128}, {64, 32}, {7, 13}, {1, 1}, {32, 96}});
    if (wishes.is_aligned)
      problem_.block_shape = pick<BlockShape>(generator, {{128, 128}, {64, 32}, {7, 16}, {32, 96}});
    if (wishes.block_shape) problem_.block_shape = wishes.block_shape;
  }
  tile_.block_size_m = pick(generator, {1, 2, 3, 4, 8, 9, 16, 64});
  tile_.block_size_n = pick(generator, {1, 5, 6, 24, 48, 96});
  tile_.block_size_k = pick(generator, {1, 16, 32, 33, 64, 128, 300, 1024});
  tile_.group_size_m = pick(generator, {1, 2, 4});

  const auto groups = std::uniform_int_distribution<int>(1, 8)(generator);
  segments.push_back(rows_before(seed));
  const bool one_group = pick(generator, {0, 0, 0, 1}) == 1;
  for (int g = 0; g < groups; ++g) {
    segments.push_back(segments.back() + (one_group ? (g == groups / 2 ? 21 : 0) : random_group(generator, wishes)));
    experts.push_back(std::uniform_int_distribution<std::int64_t>(0, problem_.experts - 1)(generator));
  }
  first_ = segments.front();
  last_ = segments.back();
  rows_ = last_ + pick<std::int64_t>(generator, {1, 2, 4});  // rows of no group behind the last
  if (wishes.rows == RowLayout::offsets_32) segments_32.assign(segments.begin(), segments.end());
  if (wishes.rows == RowLayout::masked) mask_groups(generator);
  if (wishes.rows != RowLayout::offsets) segments.clear();
  const auto pitch = [&](std::int64_t columns) {
    if (wishes.is_aligned) return ceil_div(columns, 16) * 16 + pick<std::int64_t>(generator, {0, 0, 16, 48});
    return columns + pick<std::int64_t>(generator, {0, 0, 1, 5});
  };
  pitch_a_ = pitch(problem_.k);
  pitch_b_ = pitch(problem_.k);
  pitch_c_ = pitch(problem_.n);
  c_type_ = quantises_a(problem_)
                ? combination.a
                : pick(generator, {ElementType::float16, ElementType::bfloat16, ElementType::float32});
  if (wishes.c_type) c_type_ = *wishes.c_type;

  a_ = random_tensor(combination.a, rows_ * pitch_a_, generator);
  b_ = random_tensor(weight_type(problem_), problem_.experts * problem_.n * pitch_b_, generator);
  c_.resize(static_cast<std::size_t>(rows_ * pitch_c_) * size_of(c_type_));
  workspace_.resize(workspace_bytes(problem_, rows_));
  const ScaleSizes scales = scale_sizes(problem_, rows_);
  scale_a = random_scales(scales.a, generator);
  scale_b = random_scales(scales.b, generator);
  // What nobody may look at is no number.
  const std::size_t row_bytes = a_.size() / static_cast<std::size_t>(rows_);
  for (std::int64_t row = 0; max_m_ > 0 && row < rows_; ++row) {
    const auto begin = a_.begin() + row * static_cast<std::ptrdiff_t>(row_bytes);
    if (!is_of_a_group(row)) std::fill_n(begin, row_bytes, std::byte{0xff});
  }
  poison();
}

// The same groups, each at the beginning of as many rows as the largest has, or more.
void RandomProblem::mask_groups(std::mt19937_64& generator) {
  for (std::size_t g = 0; g + 1 < segments.size(); ++g) {
    masked_m.push_back(static_cast<std::int32_t>(segments[g + 1] - segments[g]));
  }
  max_m_ = std::max(1, *std::ranges::max_element(masked_m)) + pick<std::int64_t>(generator, {0, 0, 1, 9});
  if (pick(generator, {0, 1}) == 1) {
    masked_m.resize(static_cast<std::size_t>(problem_.experts), static_cast<std::int32_t>(max_m_));
    experts.clear();
  }
  rows_ = static_cast<std::int64_t>(masked_m.size()) * max_m_;
  first_ = 0;
  last_ = rows_;
}

bool RandomProblem::is_of_a_group(std::int64_t row) const {
  if (max_m_ > 0) return row % max_m_ < masked_m[static_cast<std::size_t>(row / max_m_)];
  return row >= first_ && row < last_;
}

GroupedGemmArgs RandomProblem::args() {
  GroupedGemmArgs args;
  args.a = {a_.data(), rows_, problem_.k, pitch_a_, combination_.a};
  args.b = {b_.data(), problem_.experts * problem_.n, problem_.k, pitch_b_, weight_type(problem_)};
  args.c = {c_.data(), rows_, problem_.n, pitch_c_, c_type_};
  args.seg_indptr = segments;
  args.seg_indptr_32 = segments_32;
  args.masked_m = masked_m;
  args.max_m = max_m_;
  args.weight_indices = experts;
  args.scale_a = scale_a;
  args.scale_b = scale_b;
  args.workspace = workspace_;
  return args;
}

void RandomProblem::poison() { std::fill(c_.begin(), c_.end(), kPoison); }

std::int64_t RandomProblem::overwritten() const {
  const auto size = static_cast<std::int64_t>(size_of(c_type_));
  std::int64_t count = 0;
  for (std::int64_t row = 0; row < rows_; ++row) {
    const std::int64_t first = is_of_a_group(row) ? problem_.n : 0;
    const auto begin = c_.begin() + (row * pitch_c_ + first) * size;
    count += std::count_if(begin, c_.begin() + (row + 1) * pitch_c_ * size, [](std::byte b) { return b != kPoison; });
  }
  return count;
}

std::string RandomProblem::describe() const {
  return fmt::format(
      "{}: E={} N={} K={} rows={} to {} max_m={} groups={} tile {}x{}x{} g{} block {}x{} pitches {} {} {} C {}",
      combination_.name, problem_.experts, problem_.n, problem_.k, first_, last_, max_m_, experts.size(),
      tile_.block_size_m, tile_.block_size_n, tile_.block_size_k, tile_.group_size_m,
      problem_.block_shape ? problem_.block_shape->n : 0, problem_.block_shape ? problem_.block_shape->k : 0, pitch_a_,
      pitch_b_, pitch_c_, name(c_type_));
}

}  // namespace expertile::testing
