// float32 as parts of tf32, by the device text.

#include "tf32.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

namespace expertile::testing {
namespace {

// What the tensor core makes of a register or a word of shared memory.
double as_tf32(unsigned bits) { return std::bit_cast<float>(bits & 0xffffe000U); }

// How far the parts of a value are from it, relative to it.
double error_of_parts(float value) {
  const Tf32Terms parts = tf32_terms(std::bit_cast<unsigned>(value));
  return std::fabs((as_tf32(parts.large) + as_tf32(parts.small) - value) / value);
}
double error_of_rest(float value) {
  const auto bits = std::bit_cast<unsigned>(value);
  return std::fabs((as_tf32(bits) + as_tf32(tf32_residual(bits)) - value) / value);
}

TEST(Tf32, PartsKeepNearlyAllBits) {
  std::mt19937 random(5);
  double worst_parts = 0;
  double worst_rest = 0;
  for (int i = 0; i < 1 << 20; ++i) {
    const unsigned bits = (static_cast<unsigned>(random()) & 0x807fffffU) | (100 + static_cast<unsigned>(i) % 50)
                                                                                << 23U;
    worst_parts = std::max(worst_parts, error_of_parts(std::bit_cast<float>(bits)));
    worst_rest = std::max(worst_rest, error_of_rest(std::bit_cast<float>(bits)));
  }
  EXPECT_LE(worst_parts, 0x1p-23);  // rounded, a rest has 12 bits and its sign
  EXPECT_LE(worst_rest, 0x1p-22);   // cut, 13 bits
  EXPECT_GT(worst_rest, 0x1p-24);
}

TEST(Tf32, PartsOfWhatTf32HoldsAreTheValueAndNothing) {
  for (const float value : {0.0F, -0.0F, 1.0F, -1.5F, 0x1.ffcp100F, 0x1p-126F}) {
    const auto bits = std::bit_cast<unsigned>(value);
    EXPECT_EQ(as_tf32(tf32_terms(bits).large), value);
    EXPECT_EQ(as_tf32(tf32_terms(bits).small), 0);
    EXPECT_EQ(as_tf32(bits), value);
    EXPECT_EQ(as_tf32(tf32_residual(bits)), 0);
  }
}

TEST(Tf32, InfinitiesAndNaNLeaveNothing) {
  using Limits = std::numeric_limits<float>;
  for (const float value : {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN()}) {
    const auto bits = std::bit_cast<unsigned>(value);
    EXPECT_EQ(tf32_terms(bits).large, bits);
    EXPECT_EQ(tf32_terms(bits).small, 0U);
    EXPECT_EQ(tf32_residual(bits), 0U);
  }
  EXPECT_LE(error_of_rest(Limits::max()), 0x1p-22);
}

}  // namespace
}  // namespace expertile::testing
