#pragma once
// The two halves of validate(problem, args): what can be checked anywhere, and what needs the host to read the routing.

#include "expertile/grouped_gemm.hpp"

namespace expertile {

// Pointers, shapes, types, pitches and scales.
[[nodiscard]] Status validate_shapes(const Problem& problem, const GroupedGemmArgs& args);
// The values of seg_indptr and weight_indices, which lie in the host's memory.
[[nodiscard]] Status validate_routing(const Problem& problem, const GroupedGemmArgs& args);

}  // namespace expertile
