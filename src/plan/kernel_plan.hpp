#pragma once
// Problem and tile -> the GPU kernel that runs them. Pure: no CUDA, no I/O.

#include <cstddef>
#include <cstdint>
#include <optional>

#include "expertile/grouped_gemm.hpp"
#include "expertile/problem.hpp"
#include "expertile/tile_config.hpp"
#include "kernel_spec.hpp"
#include "problem/sizes.hpp"

namespace expertile {

// How kernels read and write an element; none where no kernel does.
[[nodiscard]] std::optional<Storage> storage_of(ElementType type) noexcept;
[[nodiscard]] Scaling scaling_of(Scales scales) noexcept;
// How a GPU multiplies a pair of operands; none where no kernel does. tf32: as of Problem.
[[nodiscard]] std::optional<Product> product_of(ElementType a, ElementType b, bool tf32) noexcept;
// Whether there is a kernel for every call that the problem allows.
[[nodiscard]] Status check_product(const Problem& problem);

[[nodiscard]] CallTypes types_of(const GroupedGemmArgs& args) noexcept;

// Of a problem that check_product accepts. wide_loads: rows of A and B begin at multiples of 16 bytes.
[[nodiscard]] KernelSpec make_spec(const Problem& problem, const TileConfig& tile, const CallTypes& types,
                                   bool wide_loads) noexcept;

// What the sums of a tile's kernel may err more than float32's, as a part of the sum of |a * b|: 0 but for e4m3 on
// Hopper's tensor cores.
[[nodiscard]] double sum_error(const Problem& problem, const TileConfig& tile) noexcept;

// Whether rows that lie back to back, and blocks of scales, begin at multiples of 16 bytes.
[[nodiscard]] bool allows_wide_loads(const Problem& problem, ElementType a) noexcept;

// Rows of a matrix begin at multiples of 16 bytes.
[[nodiscard]] bool has_wide_rows(const ConstMatrixView& matrix) noexcept;

// What the kernel reads of a validated call whose A is what the kernel multiplies (quantised, where it is).
[[nodiscard]] KernelArgs make_kernel_args(const Problem& problem, const GroupedGemmArgs& args) noexcept;

// Quantising A on the fly: the workspace holds A as e4m3, then its scales. 0 where A is not quantised.
inline constexpr std::size_t kWorkspaceAlignment = 16;
[[nodiscard]] std::size_t workspace_bytes(const Problem& problem, std::int64_t rows) noexcept;
// Whether the call brings that much, for a problem whose A is quantised.
[[nodiscard]] Status check_workspace(const Problem& problem, const GroupedGemmArgs& args);
[[nodiscard]] QuantiseArgs make_quantise_args(const Problem& problem, const GroupedGemmArgs& args) noexcept;
// The call after that: A and its scales are in the workspace.
[[nodiscard]] GroupedGemmArgs quantised_call(const Problem& problem, const GroupedGemmArgs& args) noexcept;

}  // namespace expertile
