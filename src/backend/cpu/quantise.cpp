// Quantising the rows of A on the fly, the scheme the models use: one scale a row, or a row and block of K.

#include "backend/cpu/quantise.hpp"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cmath>

#include "problem/sizes.hpp"
#include "process/fork.hpp"

namespace expertile {
namespace {

// A NaN or an infinity anywhere must show in the scale: comparing with max alone would drop a NaN.
float largest_magnitude(const ConstMatrixView& a, std::int64_t first, std::int64_t count) {
  float largest = 0;
  for (std::int64_t i = first; i < first + count; ++i) {
    const float magnitude = std::fabs(load_element(a.type, a.data, i));
    if (!(magnitude <= largest)) largest = magnitude;
    if (std::isnan(largest)) return largest;
  }
  return largest;
}

// Elements [k, k + count) of row r; returns the scale.
float quantise_block(const ConstMatrixView& a, const MatrixView& out, std::int64_t r, std::int64_t k,
                     std::int64_t count) {
  const float scale = cpu::scale_of(largest_magnitude(a, r * a.pitch + k, count), out.type);
  for (std::int64_t i = 0; i < count; ++i) {
    const float quotient = load_element(a.type, a.data, r * a.pitch + k + i) / scale;
    store_element(out.type, quotient, out.data, r * out.pitch + k + i);
  }
  return scale;
}

Status check(const ConstMatrixView& a, std::int64_t block_k, const MatrixView& out, std::size_t scales,
             std::int64_t blocks) {
  if (a.type != ElementType::float16 && a.type != ElementType::bfloat16 && a.type != ElementType::float32) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("A is {}, it must be float16, bfloat16 or float32", name(a.type)));
  }
  if (out.type != ElementType::float8_e4m3 && out.type != ElementType::int8) {
    return fail(ErrorCode::invalid_argument, fmt::format("out is {}, it must be float8_e4m3 or int8", name(out.type)));
  }
  if (block_k < 0) {
    return fail(ErrorCode::invalid_argument, fmt::format("block_k is {}, it must be 0 or more", block_k));
  }
  if (a.rows < 0 || a.cols < 1 || out.rows != a.rows || out.cols != a.cols || a.pitch < a.cols ||
      out.pitch < out.cols) {
    return fail(
        ErrorCode::invalid_argument,
        fmt::format("A is [{}, {}] with pitch {}, out is [{}, {}] with pitch {}: they must be of one shape, and "
                    "a pitch at least its columns",
                    a.rows, a.cols, a.pitch, out.rows, out.cols, out.pitch));
  }
  if (a.rows > 0 && (a.data == nullptr || out.data == nullptr)) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}'s data is null, it must hold [{}, {}]",
                                                         a.data == nullptr ? "A" : "out", a.rows, a.cols));
  }
  std::int64_t needed = 0;
  if (__builtin_mul_overflow(a.rows, blocks, &needed)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} rows of {} blocks do not fit an address space", a.rows, blocks));
  }
  if (static_cast<std::int64_t>(scales) != needed) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("scales has {} entries, {} rows of {} blocks need {}", scales, a.rows, blocks, needed));
  }
  return {};
}

}  // namespace

float cpu::scale_of(float largest, ElementType type) noexcept {
  if (largest == 0) return 1.0F;
  return std::max(largest / (type == ElementType::float8_e4m3 ? kFloat8E4M3Max : 127.0F), 0x1p-126F);
}

Status cpu::quantise(const ConstMatrixView& a, std::int64_t block_k, const MatrixView& out, std::span<float> scales,
                     int threads) {
  const std::int64_t length = block_k == 0 ? std::max<std::int64_t>(a.cols, 1) : block_k;
  const std::int64_t blocks = length > 0 ? ceil_div(std::max<std::int64_t>(a.cols, 0), length) : 0;
  if (auto status = check(a, block_k, out, scales.size(), blocks); !status) return status;
#pragma omp parallel for num_threads(threads)
  for (std::int64_t r = 0; r < a.rows; ++r) {
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t k = block * length;
      scales[static_cast<std::size_t>(r * blocks + block)] = quantise_block(a, out, r, k, std::min(length, a.cols - k));
    }
  }
  return {};
}

Status quantise_rows(const ConstMatrixView& a, std::int64_t block_k, const MatrixView& out, std::span<float> scales) {
  release_openmp_threads_at_forks();  // of a CPU that nobody has opened
  return cpu::quantise(a, block_k, out, scales, omp_get_max_threads());
}

}  // namespace expertile
