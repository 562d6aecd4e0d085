#pragma once
// A call of the operation in the emulator: what the CUDA backend does with one, and which kernels can do it.

#include "emulator/emulated_kernels.hpp"
#include "expertile/grouped_gemm.hpp"
#include "support/random_problem.hpp"

namespace expertile::testing {

// How a call differs from an ordinary one.
struct EmulatedCall {
  bool copies_round = true;        // tf32, on the way to shared memory
  bool groups_share_rows = false;  // so that rows of C are written more than once
};

// A is what the kernel multiplies.
[[nodiscard]] Status multiply_emulated(const EmulatedKernel& kernel, const Problem& problem,
                                       const GroupedGemmArgs& args, const EmulatedCall& call = {});
// Quantises A first where the problem says so.
[[nodiscard]] Status run_emulated(const EmulatedKernel& kernel, const Problem& problem, GroupedGemmArgs args,
                                  const EmulatedCall& call = {});

[[nodiscard]] Combination combination_named(const std::string& name);
// A family's kernels whose specification is what the planner asks for.
[[nodiscard]] std::vector<EmulatedKernel> kernels_for(const Combination& combination,
                                                      KernelFamily family = KernelFamily::sm80);
// One that the kernel can do.
[[nodiscard]] RandomProblem random_problem(const Combination& combination, const KernelSpec& spec, std::uint64_t seed,
                                           bool is_large = false);

}  // namespace expertile::testing
