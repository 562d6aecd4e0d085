#pragma once
// Matrices as Hopper's bulk tensor copies see them.

#include "backend/cuda/driver.hpp"
#include "expertile/grouped_gemm.hpp"
#include "kernel_spec.hpp"

namespace expertile::cuda {

// For copies of boxes of `box_rows` rows (256 at most) and 128 bytes of each, permuted as kernels/ptx90.hpp's copy_box
// says; float32 is rounded to tf32 where rounds_to_tf32 says so. The matrix is not read. An error names what the device
// cannot copy: rows that do not begin at multiples of 16 bytes, or more of them than can be numbered.
[[nodiscard]] Result<TensorMap> make_tensor_map(const Driver& driver, const ConstMatrixView& matrix, int box_rows,
                                                bool rounds_to_tf32);

}  // namespace expertile::cuda
