#include "problem/sizes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "problem/presets.hpp"

namespace expertile {
namespace {

// What one expert and one row of A cost: scales go with whichever they are counted by.
struct Shares {
  double by_expert = 0;
  double by_row = 0;
};

Shares shares_of(const Problem& problem) {
  const Operands operands = operands_of(problem);
  const OperandBytes b = bytes_of(operands.b, {1, 1, problem.n, problem.k});
  const OperandBytes a = bytes_of(operands.a, {1, 1, 1, problem.k});
  const std::int64_t scales_of_a = a.total() - a.elements;
  const bool a_is_scaled_by_expert = operands.a.scales && operands.a.scales->rows == 0;
  const auto shared = static_cast<double>(b.total() + (a_is_scaled_by_expert ? scales_of_a : 0));
  const std::int64_t row = a.elements + (a_is_scaled_by_expert ? 0 : scales_of_a) + bytes_of(operands.c, problem.n);
  return {shared, static_cast<double>(row)};
}

}  // namespace

ScaleSizes scale_sizes(const Problem& problem, std::int64_t rows) noexcept {
  const Operands operands = operands_of(problem);
  const auto count = [](const Operand& operand, const OperandShape& shape) {
    return operand.scales ? scale_count(*operand.scales, shape) : 0;
  };
  return {count(operands.a, shape_of_a(problem, rows)), count(operands.b, shape_of_b(problem))};
}

ElementType weight_type(const Problem& problem) noexcept { return preset_of(problem).b.element; }

CallTypes usual_types(const Problem& problem) noexcept {
  const Preset& preset = preset_of(problem);
  return {.a = preset.a.element, .c = preset.c};
}

std::vector<CallTypes> call_types(const Problem& problem, RowLayout rows) {
  const Preset& preset = preset_of(problem);
  std::vector<ElementType> activations{preset.a.element};
  if (preset.other_a) activations.push_back(*preset.other_a);
  std::vector<CallTypes> types;
  for (const ElementType a : activations) {
    for (const ElementType c : types_of_c()) {
      if (!preset.quantised_a || c == a) types.push_back({a, c, rows});
    }
  }
  return types;
}

double tensor_bytes(const Problem& problem, double rows) noexcept {
  return bytes_moved(problem, rows, static_cast<double>(problem.experts));
}

double bytes_moved(const Problem& problem, double rows, double active_groups) noexcept {
  const Shares shares = shares_of(problem);
  return active_groups * shares.by_expert + rows * shares.by_row;
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
      return static_cast<const std::int8_t*>(data)[index];
    case ElementType::int4:
    case ElementType::uint4:
    case ElementType::float4_e2m1:
    case ElementType::float8_e8m0:
      break;
  }
  return std::numeric_limits<float>::quiet_NaN();
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
    case ElementType::int8: {
      // NaN has no int8: its scale carries it.
      const float clamped = std::isnan(value) ? 0.0F : std::clamp(std::nearbyint(value), -128.0F, 127.0F);
      static_cast<std::int8_t*>(data)[index] = static_cast<std::int8_t>(clamped);
      return;
    }
    case ElementType::int4:
    case ElementType::uint4:
    case ElementType::float4_e2m1:
    case ElementType::float8_e8m0:
      return;
  }
}

}  // namespace expertile
