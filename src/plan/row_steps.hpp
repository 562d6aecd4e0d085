#pragma once
// Steps of rows between which the default without a file does not change.

#include <cstdint>

namespace expertile {

// Powers of the square root of 2.
inline constexpr int kRowSteps = 63;  // up to 2^31 rows, more than any call has
// The nearest; the last for more rows.
[[nodiscard]] int row_step(std::int64_t rows) noexcept;
[[nodiscard]] std::int64_t rows_of_step(int step) noexcept;

}  // namespace expertile
