#pragma once
// The grouped product on the CPU: tiles of C over threads, panels of K inside a tile.

#include "backend/cpu/kernels.hpp"
#include "expertile/grouped_gemm.hpp"

namespace expertile::cpu {

// What the operands are multiplied as. bfloat16 products halve the bytes but, on the machines measured, run at less
// than half the rate of float32's, so only tiles of few rows (BLOCK_SIZE_M <= 8), which wait for memory, are multiplied
// so.
[[nodiscard]] Compute compute_of(const Problem& problem, const TileConfig& tile, ElementType a, ElementType b,
                                 const KernelSet& kernels);

// A is as stored; where the problem quantises A the caller did that and passes e4m3 with scale_a [M, ceil(K/bk)].
[[nodiscard]] Status run_tiles(const KernelSet& kernels, int threads, const Problem& problem, const TileConfig& tile,
                               const GroupedGemmArgs& args);

}  // namespace expertile::cpu
