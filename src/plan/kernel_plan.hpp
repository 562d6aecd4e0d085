#pragma once
// Problem and tile -> the GPU kernel that runs them. Pure: no CUDA, no I/O.

#include "expertile/problem.hpp"
#include "expertile/tile_config.hpp"
#include "kernel_spec.hpp"

namespace expertile {

[[nodiscard]] Storage storage_of(ElementType type) noexcept;

// a: how A is stored when the call is made (before it is quantised on the fly).
// wide_loads: rows of A and B begin at multiples of 16 bytes.
[[nodiscard]] KernelSpec make_spec(const Problem& problem, const TileConfig& tile, ElementType a,
                                   bool wide_loads) noexcept;

// Whether rows that lie back to back, and blocks of scales, begin at multiples of 16 bytes.
[[nodiscard]] bool allows_wide_loads(const Problem& problem, ElementType a) noexcept;

// The most row tiles that `rows` rows in `groups` groups can make: a bound that needs no look at the routing.
[[nodiscard]] std::int64_t most_row_tiles(std::int64_t rows, std::int64_t groups, int block_size_m) noexcept;

}  // namespace expertile
