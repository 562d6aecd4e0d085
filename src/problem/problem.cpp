#include "expertile/problem.hpp"

#include <fmt/format.h>

#include <limits>
#include <utility>

namespace expertile {
namespace {

constexpr std::int64_t kLargestSize = std::int64_t{1} << 31;

Status check_size(const char* what, std::int64_t value) {
  if (value >= 1 && value <= kLargestSize) return {};
  return fail(ErrorCode::invalid_argument, fmt::format("{} is {}, it must be from 1 to {}", what, value, kLargestSize));
}

bool is_float(DType dtype) { return dtype == DType::float16 || dtype == DType::bfloat16 || dtype == DType::float32; }

bool scales_fit(const Problem& problem) {
  const Scales scales = scales_of(problem);
  if (problem.block_shape.has_value() != (scales == Scales::block)) return false;
  if (scales == Scales::block) return true;
  if (is_float(problem.dtype)) return scales == Scales::none;
  if (problem.dtype == DType::int8_w8a16) return scales == Scales::per_channel;
  if (problem.dtype == DType::int8_w8a8) return scales == Scales::per_token_channel;
  return scales == Scales::per_tensor || scales == Scales::per_token_channel;
}

}  // namespace

Scales usual_scales(DType dtype, bool has_block_shape) noexcept {
  if (has_block_shape) return Scales::block;
  switch (dtype) {
    case DType::fp8_w8a8:
      return Scales::per_tensor;
    case DType::int8_w8a16:
      return Scales::per_channel;
    case DType::int8_w8a8:
      return Scales::per_token_channel;
    default:
      return Scales::none;
  }
}

Scales scales_of(const Problem& problem) noexcept {
  return problem.scales.value_or(usual_scales(problem.dtype, problem.block_shape.has_value()));
}

std::int64_t hidden_size_of(const Problem& problem) noexcept {
  return problem.hidden_size == 0 ? problem.k : problem.hidden_size;
}

bool quantises_a(const Problem& problem) noexcept { return problem.block_shape.has_value() && is_float(problem.dtype); }

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
  if (problem.block_shape) {
    if (auto status = check_size("block_shape n", problem.block_shape->n); !status) return status;
    if (auto status = check_size("block_shape k", problem.block_shape->k); !status) return status;
  }
  if (problem.tf32 && (problem.dtype != DType::float32 || problem.block_shape)) {
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
