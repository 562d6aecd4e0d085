#pragma once
// One row of A or B, a panel of K long, as the compute type wants it.

#include <cstdint>

#include "backend/cpu/kernels.hpp"
#include "expertile/grouped_gemm.hpp"

namespace expertile::cpu {

// Scales along one row: entry i serves elements [i * block_k, (i + 1) * block_k). No pointer: 1.
struct RowScales {
  const float* values = nullptr;
  std::int64_t block_k = 0;
};

// Whether elements of a type have a conversion to the compute type, which keeps their values.
[[nodiscard]] bool can_pack(const KernelSet& kernels, Compute compute, ElementType type);

// Converts elements [k0, k0 + count) of the row at `row` and fills up to the next multiple of kPackAlignment with
// zeros. packed: float or 16-bit elements, by `compute`, which can_pack the type.
void pack_row(const KernelSet& kernels, Compute compute, ElementType type, const void* row, std::int64_t k0,
              std::int64_t count, RowScales scales, void* packed);

// out[i] = element i, of a type that kernels read.
void float_from(const KernelSet& kernels, ElementType type, const void* elements, std::int64_t count, float* out);

// True where the stored elements already are the compute type, so that a panel can be read in place.
[[nodiscard]] bool stored_as_computed(Compute compute, ElementType type);

[[nodiscard]] std::size_t element_bytes(Compute compute);

}  // namespace expertile::cpu
