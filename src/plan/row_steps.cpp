#include "plan/row_steps.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace expertile {

// Every call asks: so without a logarithm.
int row_step(std::int64_t rows) noexcept {
  if (rows <= 1) return 0;
  constexpr double kFourthRootOf2 = 1.189207115002721;
  constexpr double kFourthRootOf8 = 1.681792830507429;
  const int octave = std::bit_width(static_cast<std::uint64_t>(rows)) - 1;
  const double ratio = static_cast<double>(rows) / static_cast<double>(std::int64_t{1} << octave);
  return std::min(2 * octave + (ratio >= kFourthRootOf2 ? 1 : 0) + (ratio >= kFourthRootOf8 ? 1 : 0), kRowSteps - 1);
}

std::int64_t rows_of_step(int step) noexcept { return std::llround(std::exp2(0.5 * step)); }

}  // namespace expertile
