#pragma once
// The oracle: the operation in double precision, plain and slow, sharing no code with the backends.

#include <cstdint>
#include <vector>

#include "expertile/grouped_gemm.hpp"

namespace expertile {

struct ReferenceResult {
  std::vector<double> value;      // [M, N]; rows outside every group hold NaN, and so does what was left out
  std::vector<double> magnitude;  // [M, N]: sum over k of |a*b| with scales, which error bounds scale with
  std::int64_t every = 1;

  // Whether an element was computed: one of `every` in each row and each column.
  [[nodiscard]] bool has(std::int64_t row, std::int64_t n) const { return (row + n) % every == 0; }
};

// args.c is not touched. The arguments were validated before. Where the call quantises A, the reference quantises it by
// its own plain code first (the scheme of quantise_rows). every: see ReferenceResult::has.
[[nodiscard]] ReferenceResult reference_grouped_gemm(const Problem& problem, const GroupedGemmArgs& args,
                                                     std::int64_t every = 1);

// Largest |C - value| / bound over the rows of groups, where bound is the derived error bound (see the .cpp); > 1 is
// wrong. A NaN where the reference has none or was left out, and the other way round, gives infinity. sum_error: what a
// kernel's sums may err more than float32's, as a part of the magnitude.
[[nodiscard]] double worst_error_over_bound(const Problem& problem, const GroupedGemmArgs& args,
                                            const ReferenceResult& reference, double sum_error = 0);

}  // namespace expertile
