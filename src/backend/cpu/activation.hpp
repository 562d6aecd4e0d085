#pragma once
// The activations on rows of floats, in loops that the compiler turns into vectors: no calls, no branches.
// Unnamed namespace for the reason given in microkernel.hpp.

#include <bit>
#include <cstdint>

#include "expertile/activation.hpp"

namespace expertile::cpu {
namespace {

// e^x within 2 steps of float32: x = n * ln 2 + r with |r| <= ln 2 / 2, and e^r by its series, whose seventh term is
// below 2^-26. Beyond float32's range it stays at that range's ends; NaN stays NaN.
inline float exponential(float x) {
  const float kept = x < -87.0F ? -87.0F : x > 88.0F ? 88.0F : x;
  constexpr float kRounder = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number
  const float shifted = kept * 1.44269504F + kRounder;
  const float n = shifted - kRounder;
  const float r = (kept - n * 0.693359375F) + n * 2.12194440e-4F;  // ln 2 in two parts, the first exact in n's products
  float sum = 1.0F / 5040;
  sum = sum * r + 1.0F / 720;
  sum = sum * r + 1.0F / 120;
  sum = sum * r + 1.0F / 24;
  sum = sum * r + 1.0F / 6;
  sum = sum * r + 0.5F;
  sum = sum * r + 1.0F;
  sum = sum * r + 1.0F;
  // n stands in the low bits of `shifted`: moved to the exponent's place, it is a power of two.
  const std::uint32_t power = (std::bit_cast<std::uint32_t>(shifted) + 127U) << 23U;
  return sum * std::bit_cast<float>(power);
}

inline float sigmoid(float x) { return 1.0F / (1.0F + exponential(-x)); }

struct ActivationNumbers {
  float alpha = 0;
  float limit = 0;  // infinity: none
};

template <Activation ACTIVATION>
float activated(const ActivationNumbers& numbers, float gate, float up) {
  const float g = gate > numbers.limit ? numbers.limit : gate;
  const float u = up > numbers.limit ? numbers.limit : up < -numbers.limit ? -numbers.limit : up;
  if constexpr (ACTIVATION == Activation::silu) return g * sigmoid(g) * u;
  if constexpr (ACTIVATION == Activation::gelu_tanh) {
    constexpr float kTwice = 2.0F * 0.7978845608028654F;  // g / 2 * (1 + tanh(y)) = g * sigmoid(2 * y)
    return g * sigmoid(kTwice * (g + 0.044715F * g * g * g)) * u;
  }
  if constexpr (ACTIVATION == Activation::swiglu_oai) return g * sigmoid(numbers.alpha * g) * (u + 1.0F);
  const float positive = g < 0.0F ? 0.0F : g;
  return positive * positive;  // relu2
}

// out[i] = act(row's gate i, its up i): `step` apart, up `up` behind the row's beginning.
template <Activation ACTIVATION>
void activate_row(const ActivationNumbers& numbers, const float* gate, const float* up, std::int64_t step,
                  std::int64_t count, float* out) {
  if (step == 1) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = activated<ACTIVATION>(numbers, gate[i], up[i]);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) out[i] = activated<ACTIVATION>(numbers, gate[step * i], up[step * i]);
}

}  // namespace
}  // namespace expertile::cpu
