#pragma once
// A call of the operation in the emulator: what the CUDA backend does with one, and which kernels can do it.

#include "emulator/emulated_kernels.hpp"
#include "expertile/grouped_gemm.hpp"
#include "support/random_problem.hpp"

namespace expertile::testing {

// A is what the kernel multiplies. copies_round: to tf32 where the product is, as the copies of a GPU do.
[[nodiscard]] Status multiply_emulated(const EmulatedKernel& kernel, const Problem& problem,
                                       const GroupedGemmArgs& args, bool copies_round = true);
// Quantises A first where the problem says so.
[[nodiscard]] Status run_emulated(const EmulatedKernel& kernel, const Problem& problem, GroupedGemmArgs args);

// A family's kernels whose specification is what the planner asks for.
[[nodiscard]] std::vector<EmulatedKernel> kernels_for(const Combination& combination,
                                                      KernelFamily family = KernelFamily::sm80,
                                                      RowLayout rows = RowLayout::offsets);
// One that the kernel can do, in its layout.
[[nodiscard]] RandomProblem random_problem(const Combination& combination, const KernelSpec& spec, std::uint64_t seed,
                                           bool is_large = false);

}  // namespace expertile::testing
