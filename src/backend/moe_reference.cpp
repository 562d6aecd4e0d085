#include "backend/moe_reference.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "backend/interval.hpp"
#include "backend/moe_reference_steps.hpp"
#include "problem/sizes.hpp"

namespace expertile {
namespace {

// A token's slot that an expert of this rank computes.
struct Slot {
  std::int64_t token = 0;
  std::int64_t index = 0;  // in [0, top_k)
};

double element(const ConstMatrixView& matrix, std::int64_t row, std::int64_t column) {
  return load_element(matrix.type, matrix.data, row * matrix.pitch + column);
}

float router_weight(const MoeLayerArgs& args, const Slot& slot) {
  return static_cast<float>(element(args.topk_weights, slot.token, slot.index));
}

// The local expert of a slot; none: it is skipped.
std::optional<std::int64_t> expert_of(const MoeProblem& problem, const MoeLayerArgs& args, const Slot& slot) {
  const std::int64_t at = slot.token * args.topk_ids.pitch + slot.index;
  std::int64_t id = args.topk_ids.is_64_bits ? static_cast<const std::int64_t*>(args.topk_ids.data)[at]
                                             : static_cast<const std::int32_t*>(args.topk_ids.data)[at];
  if (!args.expert_map.empty()) {
    if (id < 0 || id >= static_cast<std::int64_t>(args.expert_map.size())) return {};
    id = args.expert_map[static_cast<std::size_t>(id)];
  }
  if (id < 0 || id >= problem.experts) return {};
  return id;
}

// By expert: its slots, tokens rising.
std::vector<std::vector<Slot>> slots_of_experts(const MoeProblem& problem, const MoeLayerArgs& args) {
  std::vector<std::vector<Slot>> slots(static_cast<std::size_t>(problem.experts));
  for (std::int64_t token = 0; token < args.topk_ids.tokens; ++token) {
    for (std::int64_t index = 0; index < problem.top_k; ++index) {
      const auto expert = expert_of(problem, args, {token, index});
      if (expert) slots[static_cast<std::size_t>(*expert)].push_back({token, index});
    }
  }
  return slots;
}

// The slot's hidden state as the first product takes it. What is multiplied here is a float, so all of it is exact.
Row first_input(const MoeProblem& problem, const MoeLayerArgs& args, std::int64_t expert, const Slot& slot) {
  const float weight = problem.router_weight == RouterWeight::input ? router_weight(args, slot) : 1.0F;
  std::vector<Interval> x;
  for (std::int64_t k = 0; k < problem.hidden_size; ++k) {
    x.push_back(exactly(static_cast<float>(element(args.hidden_states, slot.token, k)) * weight));
  }
  return input_row(gate_up_of(problem), hidden_type_of(problem), x, args.input_scale_13, expert);
}

struct Places {
  std::int64_t gate = 0;
  std::int64_t up = 0;
};

// Where gate and up of one of the expert's I columns lie among those of the first product.
Places places_of(const MoeProblem& problem, std::int64_t i) {
  const std::int64_t size = problem.intermediate_size;
  if (!has_gate(problem.activation)) return {i, i};
  switch (problem.gate_order) {
    case GateOrder::gate_first:
      return {i, size + i};
    case GateOrder::up_first:
      return {size + i, i};
    case GateOrder::interleaved:
      return {2 * i, 2 * i + 1};
  }
  return {};
}

Row second_input(const MoeProblem& problem, const MoeLayerArgs& args, std::int64_t expert,
                 std::vector<Interval> gate_up) {
  if (args.bias_13.data != nullptr) {
    for (std::size_t n = 0; n < gate_up.size(); ++n) {
      const Interval bias = exactly(element(args.bias_13, expert, static_cast<std::int64_t>(n)));
      gate_up[n] = map_rising(gate_up[n] + bias, rounded_to_float32);
    }
  }
  std::vector<Interval> x;
  for (std::int64_t i = 0; i < problem.intermediate_size; ++i) {
    const Places places = places_of(problem, i);
    x.push_back(activated(problem, gate_up[static_cast<std::size_t>(places.gate)],
                          gate_up[static_cast<std::size_t>(places.up)]));
  }
  return input_row(down_of(problem), hidden_type_of(problem), x, args.input_scale_2, expert);
}

// What one slot adds to its token's sum.
struct Term {
  std::vector<Interval> sum;      // [H]
  std::vector<double> magnitude;  // [H], which the rounding of the sum scales with
};

Term term_of(const MoeProblem& problem, const MoeLayerArgs& args, std::int64_t expert, const Slot& slot,
             const std::vector<Interval>& down) {
  const double weight = problem.router_weight == RouterWeight::output ? router_weight(args, slot) : 1.0F;
  Term term;
  for (std::size_t n = 0; n < down.size(); ++n) {
    const double bias = args.bias_2.data != nullptr ? element(args.bias_2, expert, static_cast<std::int64_t>(n)) : 0.0;
    term.sum.push_back((down[n] + exactly(bias)) * exactly(weight));
    term.magnitude.push_back((largest_magnitude(down[n]) + std::fabs(bias)) * std::fabs(weight));
  }
  return term;
}

// [T * top_k]; empty for slots that are skipped.
std::vector<Term> terms_of_slots(const MoeProblem& problem, const MoeLayerArgs& args, double sum_error) {
  const ElementType hidden = hidden_type_of(problem);
  std::vector<Term> terms(static_cast<std::size_t>(args.topk_ids.tokens * problem.top_k));
  const auto slots = slots_of_experts(problem, args);
  for (std::int64_t expert = 0; expert < problem.experts; ++expert) {
    std::vector<Row> rows;
    for (const Slot& slot : slots[static_cast<std::size_t>(expert)]) {
      rows.push_back(first_input(problem, args, expert, slot));
    }
    auto products = product(gate_up_of(problem), {args.w13, args.scale_13, expert}, rows, hidden, sum_error);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      rows[i] = second_input(problem, args, expert, std::move(products[i]));
    }
    products = product(down_of(problem), {args.w2, args.scale_2, expert}, rows, hidden, sum_error);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Slot& slot = slots[static_cast<std::size_t>(expert)][i];
      terms[static_cast<std::size_t>(slot.token * problem.top_k + slot.index)] =
          term_of(problem, args, expert, slot, products[i]);
    }
  }
  return terms;
}

// Of an element of out: the shared output and the terms of the token's slots, added in float32.
Interval summed(std::span<const Term> terms, std::size_t n, double shared) {
  Interval sum = exactly(shared);
  double magnitude = std::fabs(shared);
  bool has_terms = false;
  for (const Term& term : terms) {
    if (term.sum.empty()) continue;
    sum = sum + term.sum[n];
    magnitude += term.magnitude[n];
    has_terms = true;
  }
  // A shared output alone is copied.
  return has_terms ? widened(sum, slack_of_terms(terms.size(), magnitude)) : sum;
}

// How far from value a number between those of `out`, which are of the hidden type, may be. Certain infinities: not at
// all, out is the rounded value.
double bound_of(double value, const Interval& out) {
  if (std::isinf(out.lo) && out.lo == out.hi) return 0;
  if (std::isinf(out.lo) || std::isinf(out.hi)) return std::numeric_limits<double>::infinity();
  return std::max(out.hi - value, value - out.lo);
}

}  // namespace

MoeReference reference_moe_layer(const MoeProblem& problem, const MoeLayerArgs& args, double sum_error) {
  const auto top_k = static_cast<std::size_t>(problem.top_k);
  const std::vector<Term> terms = terms_of_slots(problem, args, sum_error);
  const auto round = [&](double x) { return rounded_to(hidden_type_of(problem), x); };
  MoeReference reference;
  for (std::int64_t token = 0; token < args.topk_ids.tokens; ++token) {
    const auto of_token = std::span(terms).subspan(static_cast<std::size_t>(token) * top_k, top_k);
    for (std::int64_t n = 0; n < problem.hidden_size; ++n) {
      const double shared = args.shared_output.data != nullptr ? element(args.shared_output, token, n) : 0.0;
      const Interval sum = summed(of_token, static_cast<std::size_t>(n), shared);
      reference.value.push_back(sum.value);
      reference.bound.push_back(bound_of(sum.value, map_rising(sum, round)));
    }
  }
  return reference;
}

double worst_error_over_bound(const MoeProblem& problem, const MoeLayerArgs& args, const MoeReference& reference) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double worst = 0;
  for (std::int64_t token = 0; token < args.topk_ids.tokens; ++token) {
    for (std::int64_t n = 0; n < problem.hidden_size; ++n) {
      const auto index = static_cast<std::size_t>(token * problem.hidden_size + n);
      const double expected = reference.value[index];
      const double bound = reference.bound[index];
      const double actual = element(args.out, token, n);
      if (std::isinf(bound)) continue;
      if (std::isnan(expected) != std::isnan(actual)) return kInfinity;
      if (std::isnan(expected) || rounded_to(args.out.type, expected) == actual) continue;
      const double ratio = std::fabs(actual - expected) / bound;
      worst = std::isnan(ratio) ? kInfinity : std::max(worst, ratio);
    }
  }
  return worst;
}

}  // namespace expertile
