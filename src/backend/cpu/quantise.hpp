#pragma once
// Quantising on the host.

#include <cstdint>
#include <span>

#include "expertile/grouped_gemm.hpp"

namespace expertile::cpu {

// quantise_rows, by so many threads.
[[nodiscard]] Status quantise(const ConstMatrixView& a, std::int64_t block_k, const MatrixView& out,
                              std::span<float> scales, int threads);

}  // namespace expertile::cpu
