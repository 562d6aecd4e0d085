#pragma once
// The layer's oracle: every step of it in double precision, plain and slow, sharing no code with the backends; and how
// far a right layer may be from it.

#include <cstdint>
#include <vector>

#include "expertile/moe_layer.hpp"

namespace expertile {

struct MoeReference {
  std::vector<double> value;  // [T, H], before it is rounded to the hidden type
  std::vector<double> bound;  // [T, H]: what out, of the hidden type, may be from it; infinite where anything is right
};

// args.out is not touched, but where it is an input, too, this comes before the call. The arguments were validated
// before; ids that are no expert's are skipped. sum_error: what a kernel's sums may err more than float32's, as a part
// of their terms' magnitude.
[[nodiscard]] MoeReference reference_moe_layer(const MoeProblem& problem, const MoeLayerArgs& args,
                                               double sum_error = 0);

// Largest |out - value| / bound over [T, H]; > 1 is wrong. A NaN where the reference has none, and the other way round,
// gives infinity.
[[nodiscard]] double worst_error_over_bound(const MoeProblem& problem, const MoeLayerArgs& args,
                                            const MoeReference& reference);

}  // namespace expertile
