#include "problem/sizes.hpp"

#include <algorithm>
#include <cmath>

namespace expertile {
namespace {

double bytes_of(ElementType type) { return static_cast<double>(size_of(type)); }

// Of one expert.
double weight_bytes(const Problem& problem) {
  return static_cast<double>(problem.n) * static_cast<double>(problem.k) * bytes_of(weight_type(problem));
}

// A row of A, of C, and of the scales of A.
double row_bytes(const Problem& problem) {
  const bool scaled_by_row = scales_of(problem) != Scales::per_tensor;
  const double scales = scaled_by_row ? 4.0 * static_cast<double>(scale_sizes(problem, 1).a) : 0.0;
  return static_cast<double>(problem.k) * bytes_of(activation_type(problem.dtype)) +
         static_cast<double>(problem.n) * bytes_of(output_type(problem.dtype)) + scales;
}

}  // namespace

ScaleSizes scale_sizes(const Problem& problem, std::int64_t rows) noexcept {
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
  const bool a_is_given_quantised = !quantises_a(problem) && problem.dtype != DType::int8_w8a16;
  return {a_is_given_quantised ? rows * k_blocks : 0,
          problem.experts * ceil_div(problem.n, problem.block_shape->n) * k_blocks};
}

ElementType weight_type(const Problem& problem) noexcept {
  return weight_type(problem.dtype, problem.block_shape.has_value());
}

CallTypes usual_types(const Problem& problem) noexcept {
  return {activation_type(problem.dtype), output_type(problem.dtype)};
}

std::vector<CallTypes> call_types(const Problem& problem) {
  std::vector<ElementType> activations{activation_type(problem.dtype)};
  if (problem.dtype == DType::int8_w8a16) activations = {ElementType::bfloat16, ElementType::float16};
  std::vector<CallTypes> types;
  for (const ElementType a : activations) {
    for (const ElementType c : {ElementType::float16, ElementType::bfloat16, ElementType::float32}) {
      if (!quantises_a(problem) || c == a) types.push_back({a, c});
    }
  }
  return types;
}

double tensor_bytes(const Problem& problem, double rows) noexcept {
  return bytes_moved(problem, rows, static_cast<double>(problem.experts));
}

double bytes_moved(const Problem& problem, double rows, double active_groups) noexcept {
  const ScaleSizes scales = scale_sizes(problem, 1);
  const double by_expert = static_cast<double>(scales.b) / static_cast<double>(problem.experts) +
                           (scales_of(problem) == Scales::per_tensor ? 1.0 : 0.0);
  return active_groups * (weight_bytes(problem) + 4.0 * by_expert) + rows * row_bytes(problem);
}

float load_element(ElementType type, const void* data, std::int64_t index) noexcept {
  switch (type) {
    case ElementType::float16:
      return to_float(static_cast<const Float16*>(data)[index]);
    case ElementType::bfloat16:
      return to_float(static_cast<const BFloat16*>(data)[index]);
    case ElementType::float32:
      return static_cast<const float*>(data)[index];
    case ElementType::float8_e4m3:
      return to_float(static_cast<const Float8E4M3*>(data)[index]);
    case ElementType::int8:
      break;
  }
  return static_cast<const std::int8_t*>(data)[index];
}

void store_element(ElementType type, float value, void* data, std::int64_t index) noexcept {
  switch (type) {
    case ElementType::float16:
      static_cast<Float16*>(data)[index] = to_float16(value);
      return;
    case ElementType::bfloat16:
      static_cast<BFloat16*>(data)[index] = to_bfloat16(value);
      return;
    case ElementType::float32:
      static_cast<float*>(data)[index] = value;
      return;
    case ElementType::float8_e4m3:
      static_cast<Float8E4M3*>(data)[index] = to_float8_e4m3(value);
      return;
    case ElementType::int8:
      break;
  }
  // NaN has no int8: its scale carries it.
  const float clamped = std::isnan(value) ? 0.0F : std::clamp(std::nearbyint(value), -128.0F, 127.0F);
  static_cast<std::int8_t*>(data)[index] = static_cast<std::int8_t>(clamped);
}

}  // namespace expertile
