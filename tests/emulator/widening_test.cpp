// 8 bits to 16, by the device text: exact for every value.

#include "widening.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "expertile/types.hpp"

namespace expertile::testing {
namespace {

TEST(Conversion, OfE4m3ByBitsIsExactForEveryValue) {
  for (unsigned bits = 0; bits < 256; ++bits) {
    const unsigned four = bits * 0x01010101U;
    const unsigned low = float16x2_from_e4m3_bits<0>(four);
    const unsigned high = float16x2_from_e4m3_bits<1>(four);
    EXPECT_EQ(low, high);
    EXPECT_EQ(low & 0xffffU, low >> 16U);
    const float expected = to_float(Float8E4M3{static_cast<std::uint8_t>(bits)});
    const float got = to_float(Float16{static_cast<std::uint16_t>(low)});
    EXPECT_TRUE(got == expected || (std::isnan(got) && std::isnan(expected))) << bits;
  }
}

TEST(Conversion, OfInt8IsExactForEveryValue) {
  for (int value = -128; value < 128; ++value) {
    const unsigned other = static_cast<std::uint8_t>(value ^ 0x55);
    const unsigned four = static_cast<std::uint8_t>(value) | other << 8U |
                          static_cast<unsigned>(static_cast<std::uint8_t>(value)) << 16U | other << 24U;
    for (const unsigned pair : {bfloat16x2_from_int8<0>(four), bfloat16x2_from_int8<1>(four)}) {
      EXPECT_EQ(to_float(BFloat16{static_cast<std::uint16_t>(pair)}), value);
      EXPECT_EQ(to_float(BFloat16{static_cast<std::uint16_t>(pair >> 16U)}), static_cast<std::int8_t>(other));
    }
    for (const unsigned pair :
         {float16x2_from_int8<0>(four), float16x2_from_int8<1>(four), float16x2_from_int8_pair(four & 0xffffU)}) {
      EXPECT_EQ(to_float(Float16{static_cast<std::uint16_t>(pair)}), value);
      EXPECT_EQ(to_float(Float16{static_cast<std::uint16_t>(pair >> 16U)}), static_cast<std::int8_t>(other));
    }
  }
}

}  // namespace
}  // namespace expertile::testing
