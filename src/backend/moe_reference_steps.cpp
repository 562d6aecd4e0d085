// The bound of the layer's oracle is made by running error analysis (Higham, Accuracy and Stability of Numerical
// Algorithms, 3.3) in the form of interval arithmetic (Moore, Interval Analysis): beside the value of each number
// stands between what every right layer has it. Nothing is estimated over a row or a tensor. Let u = 2^-24, float32's
// unit roundoff, and S the sum of the magnitudes of a sum's terms, at the intervals' far ends.
//
//  - Rounding to a type never falls. So the rounded number lies between the rounded ends, and an interval that holds no
//    boundary between two numbers of the type becomes a single number again: errors of the first product are gone for
//    most elements once C1 is rounded to 8 or 11 bits.
//  - Quantising: scale = amax / 448 (or / 127) never falls with amax, whose interval is that of the largest element's
//    magnitude. x / scale rises with x, and with the scale it moves towards 0, so its ends are those of x by the scale
//    that carries them further out. Rounded to float32 and then to e4m3 or int8, each of which never falls, only
//    quotients near a boundary are two steps; the others are exact. Scales stay intervals beside the quotients, since a
//    scale multiplies the whole block's sum. Where amax may be 0 the scale may be 1, but then all quotients are 0,
//    which the interval of each holds.
//  - A product errs by (K + 8) u S, as above worst_error_over_bound in reference.cpp, and by tf32's 0x1.01p-10 S where
//    the problem allows it, by sum_error S for a kernel whose sums are less exact than float32's, and by K * 2^-106 for
//    subnormal operands that bfloat16 products may flush.
//  - A bias is added to C1 in float32: rounded ends. Limits are exact.
//  - exp and tanh err by a few units in the last place: 2^-20 of the result with room. exp's argument is rounded, and
//    some scale it to base 2 first (2 u of it), which exp turns into a relative error: 2^-22 |argument| with room.
//    sigmoid has, of a relative error of exp, 1 - sigmoid: all of it for negative arguments, and at most 0.28
//    |argument| for positive ones. gelu_tanh's 1 + tanh cancels where tanh is near -1, so 2^-20 of |g| it is. Arguments
//    of tanh err by few u, and t * (1 - tanh(t)^2) < 0.45. sigmoid may be flushed to 0: 2^-125 of |g|.
//  - The factors of an activation are multiplied in float32: 2^-22 of the result.
//  - The sum over slots, in any order and with any of its products fused: each term has at most 3 roundings of its own
//    and as many as there are terms, the shared output's among them, in sums (Higham, 4.2).
//
// A NaN goes through limits and relu2, as in PyTorch.

#include "backend/moe_reference_steps.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>

#include "problem/sizes.hpp"

namespace expertile {
namespace {

struct Quantised {
  ElementType element;
  double largest;
};

// What a product's A is quantised to; nothing where it is of floats.
std::optional<Quantised> quantised_a_of(const Problem& product) {
  switch (product.dtype) {
    case DType::fp8_w8a8:
      return Quantised{ElementType::float8_e4m3, 448};
    case DType::int8_w8a8:
      return Quantised{ElementType::int8, 127};
    case DType::float16:
    case DType::bfloat16:
    case DType::float32:
    case DType::int8_w8a16:
      break;
  }
  return {};
}

double quotient(const Quantised& to, double x, double scale) {
  const float ratio = static_cast<float>(x) / static_cast<float>(scale);
  if (to.element == ElementType::float8_e4m3) return to_float(to_float8_e4m3(ratio));
  if (std::isnan(ratio)) return 0;  // int8 has no NaN: the scale carries it
  return std::clamp<double>(std::nearbyint(ratio), -to.largest, to.largest);
}

Interval quotient(const Quantised& to, const Interval& x, const Interval& scale) {
  const double value = quotient(to, x.value, scale.value);
  if (is_anything(x)) return anything(value);
  return interval_of(value, quotient(to, x.lo, x.lo < 0 ? scale.lo : scale.hi),
                     quotient(to, x.hi, x.hi < 0 ? scale.hi : scale.lo));
}

double least_magnitude(const Interval& x) {
  return x.lo <= 0 && x.hi >= 0 ? 0 : std::min(std::fabs(x.lo), std::fabs(x.hi));
}

// The larger one, or NaN where there is one.
double larger(double a, double b) { return a >= b ? a : std::isnan(a) ? a : b; }

Interval scale_of(const Quantised& to, std::span<const Interval> x) {
  Interval amax = exactly(0);
  for (const Interval& one : x) {
    const double far = is_anything(one) ? std::numeric_limits<double>::infinity() : largest_magnitude(one);
    amax = interval_of(larger(amax.value, std::fabs(one.value)), larger(amax.lo, least_magnitude(one)),
                       larger(amax.hi, far));
  }
  if (amax.hi == 0) return exactly(1);
  const auto from_amax = [&](double largest) -> double {
    const float scale = static_cast<float>(largest) / static_cast<float>(to.largest);
    return std::isnan(scale) ? scale : std::max(scale, 0x1p-126F);
  };
  return map_rising(amax, from_amax);
}

// What multiplies a column's sum: everything but scales along K.
double column_scale(const Problem& problem, const ExpertWeights& b, std::int64_t n) {
  switch (scales_of(problem)) {
    case Scales::per_tensor:
      return b.scales[static_cast<std::size_t>(b.expert)];
    case Scales::per_token_channel:
    case Scales::per_channel:
      return b.scales[static_cast<std::size_t>(b.expert * problem.n + n)];
    case Scales::none:
    case Scales::block:
      break;
  }
  return 1;
}

std::vector<double> column(const Problem& problem, const ExpertWeights& b, std::int64_t n) {
  std::vector<double> out;
  for (std::int64_t k = 0; k < problem.k; ++k) {
    out.push_back(load_element(b.weights.type, b.weights.data, (b.expert * problem.n + n) * b.weights.pitch + k));
  }
  if (!problem.block_shape) return out;
  const std::int64_t n_blocks = ceil_div(problem.n, problem.block_shape->n);
  const std::int64_t k_blocks = ceil_div(problem.k, problem.block_shape->k);
  const std::int64_t first = (b.expert * n_blocks + n / problem.block_shape->n) * k_blocks;
  for (std::int64_t k = 0; k < problem.k; ++k) {
    out[static_cast<std::size_t>(k)] *= b.scales[static_cast<std::size_t>(first + k / problem.block_shape->k)];
  }
  return out;
}

struct Sum {
  Interval sum{};
  double magnitude = 0;
};

Sum dot(const Row& row, const std::vector<double>& weights) {
  Sum all;
  const auto block = static_cast<std::size_t>(row.block);
  for (std::size_t first = 0; first < weights.size(); first += block) {
    Sum part;
    for (std::size_t k = first; k < std::min(weights.size(), first + block); ++k) {
      const Interval& a = row.elements[k];
      const double w = weights[k];
      part.sum.value += a.value * w;
      part.sum.lo += (w < 0 ? a.hi : a.lo) * w;
      part.sum.hi += (w < 0 ? a.lo : a.hi) * w;
      part.magnitude += largest_magnitude(a) * std::fabs(w);
    }
    const Interval& scale = row.scales[first / block];
    all.sum = all.sum + interval_of(part.sum.value, part.sum.lo, part.sum.hi) * scale;
    all.magnitude += part.magnitude * largest_magnitude(scale);
  }
  return all;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// g * sigmoid(alpha * g). With x = alpha * g it is x * sigmoid(x) / alpha, whose only turn is a bottom.
Interval swish(const Interval& g, double alpha) {
  constexpr double kBottom = -1.2784645427610738;  // of x * sigmoid(x)
  const Interval x = g * exactly(alpha);
  const Interval exact = alpha == 0
                             ? g * exactly(0.5)
                             : map_valley(x, kBottom, [](double z) { return z * sigmoid(z); }) * exactly(1 / alpha);
  const double relative = 0x1p-20 + 0x1p-22 * std::max(1.0, -x.lo);
  return widened(exact, relative * largest_magnitude(exact) + 0x1p-125 * largest_magnitude(g));
}

Interval gelu(const Interval& g) {
  constexpr double kBottom = -0.7524614212;  // where its slope is 0, as far as doubles tell the function's values apart
  const auto exact = [](double x) {
    const double argument = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
    return x / 2 * (1 + std::tanh(argument));
  };
  return widened(map_valley(g, kBottom, exact), 0x1p-20 * largest_magnitude(g));
}

Interval product_in_float32(const Interval& a, const Interval& b) {
  const Interval exact = a * b;
  const double magnitude = largest_magnitude(exact);
  return widened(exact, magnitude == 0 ? 0 : 0x1p-22 * magnitude + 0x1p-126);
}

}  // namespace

double rounded_to_float32(double x) { return static_cast<float>(x); }

double rounded_to(ElementType type, double x) {
  const auto in_float32 = static_cast<float>(x);
  if (type == ElementType::float16) return to_float(to_float16(in_float32));
  if (type == ElementType::bfloat16) return to_float(to_bfloat16(in_float32));
  return in_float32;
}

Row input_row(const Problem& product, ElementType hidden, const std::vector<Interval>& x,
              std::span<const float> input_scales, std::int64_t expert) {
  Row row{{}, {}, product.k};
  const auto to = quantised_a_of(product);
  if (!to) {
    for (const Interval& one : x) {
      row.elements.push_back(map_rising(one, [&](double z) { return rounded_to(hidden, z); }));
    }
    row.scales = {exactly(1)};
    return row;
  }
  std::vector<Interval> floats;
  floats.reserve(x.size());
  for (const Interval& one : x) floats.push_back(map_rising(one, rounded_to_float32));
  if (product.block_shape) row.block = product.block_shape->k;
  const auto block = static_cast<std::size_t>(row.block);
  for (std::size_t k = 0; k < floats.size(); ++k) {
    if (k % block == 0) {
      const auto of_block = std::span(floats).subspan(k, std::min(block, floats.size() - k));
      row.scales.push_back(scales_of(product) == Scales::per_tensor
                               ? exactly(input_scales[static_cast<std::size_t>(expert)])
                               : scale_of(*to, of_block));
    }
    row.elements.push_back(quotient(*to, floats[k], row.scales.back()));
  }
  return row;
}

std::vector<std::vector<Interval>> product(const Problem& problem, const ExpertWeights& b, const std::vector<Row>& rows,
                                           ElementType hidden, double sum_error) {
  const double gamma = (static_cast<double>(problem.k) + 8) * 0x1p-24 + (problem.tf32 ? 0x1.01p-10 : 0.0) + sum_error;
  const double tiny = static_cast<double>(problem.k) * 0x1p-106;
  std::vector<std::vector<Interval>> out(rows.size());
  for (std::int64_t n = 0; n < problem.n && !rows.empty(); ++n) {
    const std::vector<double> weights = column(problem, b, n);
    const double scale = column_scale(problem, b, n);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Sum exact = dot(rows[i], weights);
      const double magnitude = exact.magnitude * std::fabs(scale);
      const Interval sum = widened(exact.sum * exactly(scale), magnitude == 0 ? 0 : gamma * magnitude + tiny);
      out[i].push_back(map_rising(sum, [&](double z) { return rounded_to(hidden, z); }));
    }
  }
  return out;
}

Interval activated(const MoeProblem& problem, const Interval& gate, const Interval& up) {
  Interval g = gate;
  Interval u = up;
  if (const auto limit = limit_of(problem)) {
    const double most = *limit;
    g = map_rising(g, [&](double z) { return z > most ? most : z; });
    u = map_rising(u, [&](double z) { return z > most ? most : z < -most ? -most : z; });
  }
  switch (problem.activation) {
    case Activation::silu:
      return product_in_float32(swish(g, 1), u);
    case Activation::gelu_tanh:
      return product_in_float32(gelu(g), u);
    case Activation::swiglu_oai:
      return product_in_float32(swish(g, problem.alpha), map_rising(u + exactly(1), rounded_to_float32));
    case Activation::relu2: {
      const Interval positive = map_rising(g, [](double z) { return z < 0 ? 0 : z; });
      return product_in_float32(positive, positive);
    }
  }
  return anything(std::numeric_limits<double>::quiet_NaN());
}

double slack_of_terms(std::size_t terms, double magnitude) {
  return magnitude == 0 ? 0 : static_cast<double>(terms + 4) * (0x1p-24 * magnitude + 0x1p-126);
}

}  // namespace expertile
