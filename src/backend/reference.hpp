#pragma once
// The oracle: the operation in double precision, plain and slow, sharing no code with the backends.

#include <cstdint>
#include <vector>

#include "expertile/grouped_gemm.hpp"

namespace expertile {

struct ReferenceResult {
  std::vector<double> value;      // [M, N]; rows outside every group hold NaN
  std::vector<double> magnitude;  // [M, N]: sum over k of |a*b| with scales, which error bounds scale with
};

// args.c is not touched. The arguments were validated before. Where the call quantises A, the reference quantises it by
// its own plain code first (the scheme of quantise_rows).
[[nodiscard]] ReferenceResult reference_grouped_gemm(const Problem& problem, const GroupedGemmArgs& args);

// Largest |C - value| / bound over the rows of groups, where bound is the derived error bound (see the .cpp); > 1 is
// wrong. A NaN where the reference has none, and the other way round, gives infinity.
[[nodiscard]] double worst_error_over_bound(const Problem& problem, const GroupedGemmArgs& args,
                                            const ReferenceResult& reference);

}  // namespace expertile
