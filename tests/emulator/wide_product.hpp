#pragma once
// The arithmetic of a warpgroup's product: rows of 32 bytes into numbers, and 16 rows of sums.

#include <cstddef>
#include <vector>

#include "kernel_spec.hpp"

namespace expertile::emulator {

inline constexpr std::size_t kOperandBytes = 32;  // of a row that a product takes

// Elements of 32 bytes of either operand, and whether sums are int.
[[nodiscard]] std::size_t elements_of(Product product);
[[nodiscard]] constexpr bool sums_are_int(Product product) { return product == Product::int8; }

// Element k of a row of 32 bytes goes to to[k * stride].
void read_elements(Product product, const std::byte* row, double* to, std::size_t stride);

// sums [16, columns] (+)= x [16, elements] x y [elements, columns]. Summed in double and rounded once to what a
// register holds: as exact as any order of the hardware's.
void multiply_rows(Product product, std::size_t columns, const double* x, const double* y, bool accumulates,
                   double* sums);

}  // namespace expertile::emulator
