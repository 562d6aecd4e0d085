#include "support/random_layer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <numeric>

#include "problem/sizes.hpp"
#include "support/random_problem.hpp"

namespace expertile::testing {
namespace {

constexpr std::byte kPoison{0xa5};
constexpr std::int64_t kRowsBehind = 2;

template <class T>
T pick(std::mt19937_64& generator, std::initializer_list<T> values) {
  return values.begin()[std::uniform_int_distribution<std::size_t>(0, values.size() - 1)(generator)];
}

bool one_in(int count, std::mt19937_64& generator) {
  return std::uniform_int_distribution<int>(1, count)(generator) == 1;
}

// Of weights of size 1, or of int8, such that sums of k products are about as large as their inputs.
std::vector<float> random_scales(std::int64_t count, std::int64_t k, ElementType weights, std::mt19937_64& generator) {
  const float size_of_weights = weights == ElementType::int8 ? 74.0F : 1.0F;
  std::uniform_real_distribution<float> exponent(-1, 1);
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& scale : out) scale = std::exp2(exponent(generator)) / size_of_weights / std::sqrt(static_cast<float>(k));
  return out;
}

// What inputs of size 1 are divided by: with the smallest of these a few saturate.
std::vector<float> random_input_scales(std::int64_t experts, std::mt19937_64& generator) {
  std::uniform_real_distribution<float> exponent(-8.5F, -5);
  std::vector<float> out(static_cast<std::size_t>(experts));
  for (float& scale : out) scale = std::exp2(exponent(generator));
  return out;
}

// Plackett and Burman's design of 12 runs: of any two of its 11 columns each of the four pairs of levels is met.
bool level(std::size_t run, std::size_t column) {
  constexpr const char* kRow = "++-+++---+-";
  return run < 11 && kRow[(column + 11 - run) % 11] == '+';
}

bool is_quantised_w8a8(DType dtype) { return dtype == DType::fp8_w8a8 || dtype == DType::int8_w8a8; }

LayerCase layer_case(const Combination& combination, std::size_t shift, std::size_t run) {
  constexpr ElementType kFloats[] = {ElementType::bfloat16, ElementType::float16, ElementType::float32};
  LayerCase layer;
  layer.dtype = combination.dtype;
  layer.scales = combination.scales;
  layer.tf32 = combination.tf32;
  // A runs through three values and four at once, so every pair of them is met.
  const std::size_t of_three = run % 3;
  const std::size_t of_four = run % 4;
  layer.hidden = is_quantised_w8a8(layer.dtype) ? kFloats[(of_three + of_four) % 3] : combination.a;
  layer.activation = static_cast<Activation>(of_four);
  layer.gate_order = static_cast<GateOrder>(of_three);
  const std::size_t bias = (of_three + 2 * of_four) % 3;
  if (bias > 0) layer.bias = bias == 1 ? ElementType::float32 : ElementType::bfloat16;
  // Levels are of another run for each dtype, so that activations meet all of them.
  const auto has = [&](std::size_t column) { return level((run * 5 + shift) % 12, column); };
  layer.router_weight = has(0) ? RouterWeight::input : RouterWeight::output;
  if (has(1) && has_gate(layer.activation)) layer.limit = 0.75F;
  layer.ids_are_64_bits = has(2);
  layer.has_expert_map = has(3);
  layer.has_shared_output = has(4);
  layer.is_aligned = has(5);
  if (has(6)) layer.out = has(7) && layer.has_shared_output ? OutIs::shared_output : OutIs::hidden_states;
  layer.name = fmt::format("{}_{}_{}_{}", combination.name, run, name(layer.activation), name(layer.gate_order));
  return layer;
}

// Of the whole model: this rank's experts in some order, and others between them.
std::vector<std::int32_t> random_expert_map(std::int64_t experts, std::mt19937_64& generator) {
  std::vector<std::int32_t> map(static_cast<std::size_t>(experts + pick<std::int64_t>(generator, {1, 3, 8})), -1);
  std::iota(map.begin(), map.begin() + experts, 0);
  std::shuffle(map.begin(), map.end(), generator);
  return map;
}

}  // namespace

std::vector<LayerCase> all_layer_cases() {
  constexpr std::size_t kRuns = 12;
  std::vector<LayerCase> cases;
  const std::vector<Combination> combinations = all_combinations();
  for (std::size_t i = 0; i < combinations.size(); ++i) {
    for (std::size_t run = 0; run < kRuns; ++run) cases.push_back(layer_case(combinations[i], i, run));
  }
  return cases;
}

LayerCase layer_case_named(const std::string& name) {
  for (const LayerCase& one : all_layer_cases()) {
    if (one.name == name) return one;
  }
  std::abort();  // a typing error in a test
}

std::int64_t RandomLayer::pitch_of(std::int64_t columns, std::mt19937_64& generator) const {
  if (case_.is_aligned) return ceil_div(columns, 16) * 16 + pick<std::int64_t>(generator, {0, 0, 16, 48});
  return columns + pick<std::int64_t>(generator, {0, 0, 1, 5});
}

// size: about that of the values, which int8 has by its scales alone. Padding is as random as the rows.
RandomLayer::Tensor RandomLayer::random_tensor(std::int64_t rows, std::int64_t columns, ElementType type, float size,
                                               std::mt19937_64& generator) const {
  Tensor tensor{rows, columns, pitch_of(columns, generator), type};
  tensor.bytes.resize(static_cast<std::size_t>(rows * tensor.pitch) * size_of(type));
  std::normal_distribution<float> normal(0, size);
  std::uniform_real_distribution<float> byte(-128.5F, 127.4F);
  for (std::int64_t i = 0; i < rows * tensor.pitch; ++i) {
    store_element(type, type == ElementType::int8 ? byte(generator) : normal(generator), tensor.bytes.data(), i);
  }
  return tensor;
}

void RandomLayer::choose_sizes(std::mt19937_64& generator) {
  problem_.dtype = case_.dtype;
  problem_.scales = case_.scales;
  problem_.tf32 = case_.tf32;
  problem_.hidden_type = case_.hidden;
  problem_.activation = case_.activation;
  problem_.gate_order = case_.gate_order;
  problem_.router_weight = case_.router_weight;
  problem_.limit = case_.limit;
  problem_.experts = pick<std::int64_t>(generator, {1, 2, 3, 5, 8, 12});
  problem_.top_k = std::uniform_int_distribution<std::int64_t>(1, 4)(generator);
  if (!case_.has_expert_map) problem_.top_k = std::min(problem_.top_k, problem_.experts);
  const auto size = [&] {
    if (case_.is_aligned) return pick<std::int64_t>(generator, {16, 32, 64, 96, 128, 144});
    return pick<std::int64_t>(generator, {1, 3, 17, 31, 32, 64, 65, 97, 130});
  };
  problem_.hidden_size = size();
  problem_.intermediate_size = size();
  if (case_.scales == Scales::block) {
    problem_.block_shape = case_.is_aligned
                               ? pick<BlockShape>(generator, {{128, 128}, {64, 32}, {7, 16}, {32, 96}})
                               : pick<BlockShape>(generator, {{128, 128}, {64, 32}, {7, 13}, {1, 1}, {32, 96}});
  }
  if (case_.block_shape) problem_.block_shape = case_.block_shape;
  tokens_ = pick<std::int64_t>(generator, {1, 2, 3, 5, 9, 17, 33, 40});
}

// Ids of a token differ. One of them all, where there are enough, is no token's; now and then every token has the same.
// Padding has an expert's, which is not to be computed.
void RandomLayer::choose_ids(std::mt19937_64& generator) {
  if (case_.has_expert_map) expert_map = random_expert_map(problem_.experts, generator);
  const auto count = case_.has_expert_map ? static_cast<std::int64_t>(expert_map.size()) : problem_.experts;
  std::vector<std::int64_t> wanted(static_cast<std::size_t>(count));
  std::iota(wanted.begin(), wanted.end(), 0);
  std::shuffle(wanted.begin(), wanted.end(), generator);
  const auto top_k = static_cast<std::size_t>(problem_.top_k);
  if (wanted.size() < top_k) wanted.resize(top_k, -1);
  if (wanted.size() > top_k) wanted.pop_back();
  const bool all_are_the_same = one_in(6, generator);
  id_pitch_ = problem_.top_k + pick<std::int64_t>(generator, {0, 1, 3});
  std::vector<std::int64_t> ids(static_cast<std::size_t>(tokens_ * id_pitch_), 0);
  for (std::int64_t token = 0; token < tokens_; ++token) {
    if (!all_are_the_same) std::shuffle(wanted.begin(), wanted.end(), generator);
    const bool wants_none = one_in(8, generator);
    for (std::size_t slot = 0; slot < top_k; ++slot) {
      const bool is_padding = wants_none || one_in(8, generator);
      ids[static_cast<std::size_t>(token * id_pitch_) + slot] = is_padding ? -1 : wanted[slot];
    }
  }
  if (case_.ids_are_64_bits) {
    ids_64 = ids;
  } else {
    ids_32.assign(ids.begin(), ids.end());
  }
}

void RandomLayer::choose_scales(std::mt19937_64& generator) {
  const Problem gate_up = gate_up_of(problem_);
  const Problem down = down_of(problem_);
  scale_13 = random_scales(scale_sizes(gate_up, 1).b, gate_up.k, w13_.type, generator);
  scale_2 = random_scales(scale_sizes(down, 1).b, down.k, w2_.type, generator);
  if (case_.scales != Scales::per_tensor) return;
  input_scale_13 = random_input_scales(problem_.experts, generator);
  input_scale_2 = random_input_scales(problem_.experts, generator);
}

RandomLayer::RandomLayer(const LayerCase& layer, std::uint64_t seed) : case_(layer) {
  std::mt19937_64 generator(seed);
  choose_sizes(generator);
  choose_ids(generator);
  const Problem gate_up = gate_up_of(problem_);
  const Problem down = down_of(problem_);
  // Where there are scales, they make the weights as small as the others are.
  const auto weights = [&](const Problem& product) {
    const bool is_scaled = weight_type(product) == ElementType::float8_e4m3;
    const float size = is_scaled ? 1.0F : 1.0F / std::sqrt(static_cast<float>(product.k));
    return random_tensor(product.experts * product.n, product.k, weight_type(product), size, generator);
  };
  w13_ = weights(gate_up);
  w2_ = weights(down);
  choose_scales(generator);
  hidden_states_ = random_tensor(tokens_, problem_.hidden_size, case_.hidden, 1, generator);
  topk_weights_ = random_tensor(tokens_, problem_.top_k, ElementType::float32, 0.5F, generator);
  if (case_.bias) {
    bias_13_ = random_tensor(problem_.experts, gate_up.n, *case_.bias, 0.5F, generator);
    bias_2_ = random_tensor(problem_.experts, down.n, *case_.bias, 0.5F, generator);
  }
  if (case_.has_shared_output) {
    shared_output_ = random_tensor(tokens_, problem_.hidden_size, case_.hidden, 1, generator);
  }
  out_ = {tokens_, problem_.hidden_size, pitch_of(problem_.hidden_size, generator), case_.hidden};
  out_.bytes.resize(static_cast<std::size_t>((tokens_ + kRowsBehind) * out_.pitch) * size_of(out_.type));
  poison();
}

MoeLayerArgs RandomLayer::args() {
  MoeLayerArgs args;
  args.out = {out_.bytes.data(), tokens_, problem_.hidden_size, out_.pitch, out_.type};
  args.hidden_states = case_.out == OutIs::hidden_states ? args.out : hidden_states_.view();
  args.w13 = w13_.view();
  args.w2 = w2_.view();
  const void* ids = case_.ids_are_64_bits ? static_cast<const void*>(ids_64.data()) : ids_32.data();
  args.topk_ids = {ids, tokens_, problem_.top_k, id_pitch_, case_.ids_are_64_bits};
  args.topk_weights = topk_weights_.view();
  args.scale_13 = scale_13;
  args.scale_2 = scale_2;
  args.input_scale_13 = input_scale_13;
  args.input_scale_2 = input_scale_2;
  if (case_.bias) {
    args.bias_13 = bias_13_.view();
    args.bias_2 = bias_2_.view();
  }
  args.expert_map = expert_map;
  if (case_.has_shared_output) {
    args.shared_output = case_.out == OutIs::shared_output ? args.out : shared_output_.view();
  }
  return args;
}

void RandomLayer::poison() {
  std::fill(out_.bytes.begin(), out_.bytes.end(), kPoison);
  if (case_.out == OutIs::its_own) return;
  const Tensor& input = case_.out == OutIs::hidden_states ? hidden_states_ : shared_output_;
  const std::size_t element = size_of(out_.type);
  for (std::int64_t row = 0; row < tokens_; ++row) {
    std::memcpy(out_.bytes.data() + static_cast<std::size_t>(row * out_.pitch) * element,
                input.bytes.data() + static_cast<std::size_t>(row * input.pitch) * element,
                static_cast<std::size_t>(out_.columns) * element);
  }
}

std::int64_t RandomLayer::overwritten() const {
  const auto element = static_cast<std::int64_t>(size_of(out_.type));
  std::int64_t count = 0;
  for (std::int64_t row = 0; row < tokens_ + kRowsBehind; ++row) {
    const std::int64_t first = row < tokens_ ? out_.columns : 0;
    const auto begin = out_.bytes.begin() + (row * out_.pitch + first) * element;
    const auto end = out_.bytes.begin() + (row + 1) * out_.pitch * element;
    count += std::count_if(begin, end, [](std::byte b) { return b != kPoison; });
  }
  return count;
}

std::string RandomLayer::describe() const {
  constexpr const char* kOut[] = {"its own", "hidden_states", "shared_output"};
  const BlockShape block = problem_.block_shape.value_or(BlockShape{});
  return fmt::format(
      "{}: T={} E={} top_k={} H={} I={} block {}x{} hidden {} router weight on {} limit {} bias {} ids of {} bits, "
      "{} in the expert_map, shared_output {}, out is {}, pitches {} {} {} {}",
      case_.name, tokens_, problem_.experts, problem_.top_k, problem_.hidden_size, problem_.intermediate_size, block.n,
      block.k, name(case_.hidden), name(case_.router_weight), limit_of(problem_).value_or(INFINITY),
      case_.bias ? name(*case_.bias) : "none", case_.ids_are_64_bits ? 64 : 32, expert_map.size(),
      case_.has_shared_output ? "yes" : "no", kOut[static_cast<int>(case_.out)], hidden_states_.pitch, w13_.pitch,
      w2_.pitch, out_.pitch);
}

}  // namespace expertile::testing
