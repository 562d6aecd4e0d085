#pragma once
// Quantising on the host.

#include <cstdint>
#include <span>

#include "expertile/grouped_gemm.hpp"

namespace expertile::cpu {

// What values whose largest magnitude is this are divided by; type: float8_e4m3 or int8. Zeros keep scale 1. A
// subnormal scale would lose the values' precision or divide by zero: the smallest normal takes its place. NaN stays
// NaN.
[[nodiscard]] float scale_of(float largest, ElementType type) noexcept;

// quantise_rows, by so many threads.
[[nodiscard]] Status quantise(const ConstMatrixView& a, std::int64_t block_k, const MatrixView& out,
                              std::span<float> scales, int threads);

}  // namespace expertile::cpu
