// What a layer's problem means: its types, its limit, its two products, and its words.

#include <fmt/format.h>

#include <span>
#include <utility>
#include <vector>

#include "expertile/moe_layer.hpp"
#include "problem/presets.hpp"

namespace expertile {
namespace {

template <class Word>
using Words = std::span<const std::pair<Word, std::string_view>>;

constexpr std::pair<Activation, std::string_view> kActivations[] = {{Activation::silu, "silu"},
                                                                    {Activation::gelu_tanh, "gelu_tanh"},
                                                                    {Activation::swiglu_oai, "swiglu_oai"},
                                                                    {Activation::relu2, "relu2"}};
constexpr std::pair<GateOrder, std::string_view> kGateOrders[] = {
    {GateOrder::gate_first, "gate_first"}, {GateOrder::up_first, "up_first"}, {GateOrder::interleaved, "interleaved"}};
constexpr std::pair<RouterWeight, std::string_view> kRouterWeights[] = {{RouterWeight::output, "output"},
                                                                        {RouterWeight::input, "input"}};

// Empty: there is no such value.
template <class Word>
std::string_view name_in(Words<Word> words, Word wanted) {
  for (const auto& [word, text] : words) {
    if (word == wanted) return text;
  }
  return "";
}

template <class Word>
Result<Word> parse_in(Words<Word> words, std::string_view what, std::string_view text) {
  std::vector<std::string_view> choices;
  for (const auto& [word, choice] : words) {
    if (choice == text) return word;
    choices.push_back(choice);
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("{} '{}' is not known; choose {}", what, text, join(choices, "or")));
}

bool is_quantised_by_the_layer(const MoeProblem& problem) {
  return problem.block_shape &&
         (problem.dtype == DType::float16 || problem.dtype == DType::bfloat16 || problem.dtype == DType::float32);
}

Problem product_of(const MoeProblem& problem, std::int64_t n, std::int64_t k) {
  Problem product;
  product.experts = problem.experts;
  product.n = n;
  product.k = k;
  product.dtype = is_quantised_by_the_layer(problem) ? DType::fp8_w8a8 : problem.dtype;
  product.block_shape = problem.block_shape;
  product.scales = problem.scales;
  product.top_k = problem.top_k;
  product.hidden_size = problem.hidden_size;
  product.tf32 = problem.tf32;
  return product;
}

}  // namespace

ElementType hidden_type_of(const MoeProblem& problem) noexcept {
  return problem.hidden_type.value_or(output_type(problem.dtype));
}

std::optional<float> limit_of(const MoeProblem& problem) noexcept {
  constexpr float kOfSwigluOai = 7.0F;
  if (problem.limit || problem.activation != Activation::swiglu_oai) return problem.limit;
  return kOfSwigluOai;
}

Problem gate_up_of(const MoeProblem& problem) noexcept {
  const std::int64_t rows = has_gate(problem.activation) ? 2 * problem.intermediate_size : problem.intermediate_size;
  return product_of(problem, rows, problem.hidden_size);
}

Problem down_of(const MoeProblem& problem) noexcept {
  return product_of(problem, problem.hidden_size, problem.intermediate_size);
}

std::string_view name(Activation activation) noexcept { return name_in<Activation>(kActivations, activation); }
std::string_view name(GateOrder order) noexcept { return name_in<GateOrder>(kGateOrders, order); }
std::string_view name(RouterWeight where) noexcept { return name_in<RouterWeight>(kRouterWeights, where); }

Result<Activation> parse_activation(std::string_view text) {
  return parse_in<Activation>(kActivations, "activation", text);
}

Result<GateOrder> parse_gate_order(std::string_view text) {
  return parse_in<GateOrder>(kGateOrders, "gate order", text);
}

}  // namespace expertile
