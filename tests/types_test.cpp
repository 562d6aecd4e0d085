// The storage types, over all of their bit patterns.

#include "expertile/types.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "expertile/grouped_gemm.hpp"

namespace expertile {
namespace {

TEST(Float16, EveryBitPatternSurvivesARoundTrip) {
  for (int bits = 0; bits < 0x10000; ++bits) {
    const float value = to_float(Float16{static_cast<std::uint16_t>(bits)});
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(to_float(to_float16(value))));
    } else {
      ASSERT_EQ(to_float16(value).bits, bits);
    }
  }
}

TEST(BFloat16, EveryBitPatternSurvivesARoundTrip) {
  for (int bits = 0; bits < 0x10000; ++bits) {
    const float value = to_float(BFloat16{static_cast<std::uint16_t>(bits)});
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(to_float(to_bfloat16(value))));
    } else {
      ASSERT_EQ(to_bfloat16(value).bits, bits);
    }
  }
}

TEST(Float8E4M3, EveryBitPatternSurvivesARoundTrip) {
  for (int bits = 0; bits < 0x100; ++bits) {
    const float value = to_float(Float8E4M3{static_cast<std::uint8_t>(bits)});
    if (std::isnan(value)) {
      EXPECT_EQ(bits & 0x7f, 0x7f);
      EXPECT_TRUE(std::isnan(to_float(to_float8_e4m3(value))));
    } else {
      ASSERT_EQ(to_float8_e4m3(value).bits, bits);
    }
  }
}

// Between neighbours, the midpoint goes to the even one and what is beside it to the nearer.
template <class Storage, class Convert>
void expect_nearest_even(int last_finite, const Convert& convert) {
  using Bits = decltype(Storage::bits);
  for (int bits = 0; bits < last_finite; ++bits) {
    const float low = to_float(Storage{static_cast<Bits>(bits)});
    const float high = to_float(Storage{static_cast<Bits>(bits + 1)});
    const float middle = low + (high - low) / 2;
    ASSERT_EQ(convert(middle).bits, bits % 2 == 0 ? bits : bits + 1) << middle;
    ASSERT_EQ(convert(std::nextafter(middle, 0.0F)).bits, bits) << middle;
    ASSERT_EQ(convert(std::nextafter(middle, HUGE_VALF)).bits, bits + 1) << middle;
  }
}

TEST(Float16, RoundsToNearestEven) {
  expect_nearest_even<Float16>(0x7bff, [](float x) { return to_float16(x); });
}
TEST(BFloat16, RoundsToNearestEven) {
  expect_nearest_even<BFloat16>(0x7f7f, [](float x) { return to_bfloat16(x); });
}
TEST(Float8E4M3, RoundsToNearestEven) {
  expect_nearest_even<Float8E4M3>(0x7e, [](float x) { return to_float8_e4m3(x); });
}

TEST(Float16, OverflowsToInfinityFromHalfAStepPastTheLargest) {
  EXPECT_EQ(to_float16(65519.996F).bits, 0x7bff);
  EXPECT_EQ(to_float16(65520.0F).bits, 0x7c00);
  EXPECT_EQ(to_float16(-INFINITY).bits, 0xfc00);
}
TEST(BFloat16, OverflowsToInfinity) { EXPECT_EQ(to_bfloat16(std::numeric_limits<float>::max()).bits, 0x7f80); }
TEST(Float8E4M3, SaturatesAtItsLargestValue) {
  EXPECT_EQ(to_float(to_float8_e4m3(1e9F)), 448.0F);
  EXPECT_EQ(to_float(to_float8_e4m3(-INFINITY)), -448.0F);
  EXPECT_EQ(to_float8_e4m3(-0.0F).bits, 0x80);
}

TEST(QuantiseRows, PutsTheLargestOfEachBlockOnTheLargestValue) {
  const std::vector<float> a{1, -2, 4, 0, 0, 0, -8, 1};  // [2, 4], blocks of 2
  std::vector<Float8E4M3> out(8);
  std::vector<float> scales(4);
  const Status status = quantise_rows(view(a.data(), 2, 4), 2, view(out.data(), 2, 4), scales);
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(scales, (std::vector<float>{2 / 448.0F, 4 / 448.0F, 1.0F, 8 / 448.0F}));
  EXPECT_EQ(to_float(out[1]), -448.0F);
  EXPECT_EQ(to_float(out[0]), 224.0F);
  EXPECT_EQ(to_float(out[6]), -448.0F);
}

TEST(QuantiseRows, QuantisesToInt8PerRow) {
  const std::vector<float> a{127, -63.5F, 0.4F};
  std::vector<std::int8_t> out(3);
  std::vector<float> scales(1);
  ASSERT_TRUE(quantise_rows(view(a.data(), 1, 3), 0, view(out.data(), 1, 3), scales));
  EXPECT_EQ(scales[0], 1.0F);
  EXPECT_EQ(out, (std::vector<std::int8_t>{127, -64, 0}));
}

TEST(QuantiseRows, RefusesScalesOfTheWrongSize) {
  const std::vector<float> a(8);
  std::vector<std::int8_t> out(8);
  std::vector<float> scales(3);
  const Status status = quantise_rows(view(a.data(), 2, 4), 0, view(out.data(), 2, 4), scales);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "scales has 3 entries, 2 rows of 1 blocks need 2");
}

}  // namespace
}  // namespace expertile
