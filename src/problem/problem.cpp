#include "expertile/problem.hpp"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include "problem/presets.hpp"
#include "problem/sizes.hpp"

namespace expertile {
namespace {

Status check_size(const char* what, std::int64_t value) {
  if (value >= 1 && value <= kLargestSize) return {};
  return fail(ErrorCode::invalid_argument, fmt::format("{} is {}, it must be from 1 to {}", what, value, kLargestSize));
}

bool scales_fit(const Problem& problem) {
  const Scales scales = scales_of(problem);
  return problem.block_shape.has_value() == (scales == Scales::block) && find_preset(problem.dtype, scales) != nullptr;
}

// The product of float32 operands alone can be made in tf32.
bool multiplies_float32(const Problem& problem) {
  const Operands operands = operands_of(problem);
  return operands.multiplied_a.element == ElementType::float32 && operands.b.element == ElementType::float32;
}

}  // namespace

Scales scales_of(const Problem& problem) noexcept {
  return problem.scales.value_or(usual_scales(problem.dtype, problem.block_shape.has_value()));
}

std::int64_t hidden_size_of(const Problem& problem) noexcept {
  return problem.hidden_size == 0 ? problem.k : problem.hidden_size;
}

bool quantises_a(const Problem& problem) noexcept { return preset_of(problem).quantised_a.has_value(); }

std::int64_t ceil_div(std::int64_t a, std::int64_t b) noexcept { return a / b + (a % b != 0 ? 1 : 0); }

Status validate(const Problem& problem) {
  const std::pair<const char*, std::int64_t> sizes[] = {
      {"experts", problem.experts}, {"n", problem.n}, {"k", problem.k}, {"top_k", problem.top_k}};
  for (const auto& [what, value] : sizes) {
    if (auto status = check_size(what, value); !status) return status;
  }
  if (problem.hidden_size != 0) {
    if (auto status = check_size("hidden_size", problem.hidden_size); !status) return status;
  }
  if (name(problem.dtype).empty()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("dtype is {}, which is none of {}", static_cast<int>(problem.dtype), dtype_choices()));
  }
  if (problem.block_shape) {
    if (auto status = check_size("block_shape n", problem.block_shape->n); !status) return status;
    if (auto status = check_size("block_shape k", problem.block_shape->k); !status) return status;
  }
  if (problem.tf32 && !multiplies_float32(problem)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("tf32 is a way to multiply float32, it does not fit dtype {}{}", name(problem.dtype),
                            problem.block_shape ? " with a block_shape" : ""));
  }
  std::int64_t bytes = 0;  // of the weights, at most 4 an element
  if (__builtin_mul_overflow(problem.experts, problem.n, &bytes) || __builtin_mul_overflow(bytes, problem.k, &bytes) ||
      __builtin_mul_overflow(bytes, std::int64_t{4}, &bytes)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("experts * n * k = {} * {} * {} is too large, its bytes must fit 63 bits", problem.experts,
                            problem.n, problem.k));
  }
  if (!scales_fit(problem)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("scales '{}' do not fit dtype {} {} a block_shape", name(scales_of(problem)),
                            name(problem.dtype), problem.block_shape ? "with" : "without"));
  }
  return {};
}

}  // namespace expertile
