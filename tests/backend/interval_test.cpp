#include "backend/interval.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace expertile {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

void expect_interval(const Interval& x, double value, double lo, double hi) {
  EXPECT_EQ(x.value, value);
  EXPECT_EQ(x.lo, lo);
  EXPECT_EQ(x.hi, hi);
}

TEST(Interval, SumsAndProductsHoldThoseOfAllEnds) {
  expect_interval(Interval{1, 0, 3} + Interval{-1, -2, 5}, 0, -2, 8);
  expect_interval(Interval{1, -2, 3} * Interval{4, -5, 6}, 4, -15, 18);
  expect_interval(Interval{-1, -2, -1} * exactly(-3), 3, 3, 6);
  expect_interval(widened({1, 0, 3}, 0.5), 1, -0.5, 3.5);
  EXPECT_EQ(largest_magnitude({1, -4, 3}), 4);
}

TEST(Interval, OfARoundingIsOneNumberWhereNoBoundaryLiesInside) {
  const auto round = [](double x) { return std::nearbyint(x); };
  expect_interval(map_rising({1.2, 0.9, 1.4}, round), 1, 1, 1);
  expect_interval(map_rising({1.2, 0.9, 1.6}, round), 1, 1, 2);
}

TEST(Interval, OfAValleyReachesDownToItsBottomWhereThatIsInside) {
  const auto square = [](double x) { return x * x; };
  expect_interval(map_valley({1, -1, 2}, 0, square), 1, 0, 4);
  expect_interval(map_valley({-2, -3, -1}, 0, square), 4, 1, 9);
  expect_interval(map_valley({2, 1, 3}, 0, square), 4, 1, 9);
}

TEST(Interval, IsNaNWhereItMustBeAndAnythingWhereItMayBe) {
  EXPECT_TRUE(std::isnan((exactly(kNaN) + exactly(1)).lo));
  EXPECT_TRUE(std::isnan((exactly(kInfinity) * exactly(0)).hi));
  EXPECT_TRUE(is_anything(Interval{1, 0, kInfinity} * exactly(0)));
  EXPECT_TRUE(is_anything(map_rising(anything(1), [](double x) { return std::fmin(x, 2); })));
  EXPECT_TRUE(is_anything(map_valley(anything(1), 0, [](double x) { return x * x; })));
  EXPECT_FALSE(is_anything(exactly(kInfinity)));
  expect_interval(widened(exactly(kInfinity), kInfinity), kInfinity, kInfinity, kInfinity);
}

}  // namespace
}  // namespace expertile
