#include "tune/statistics.hpp"

#include <gtest/gtest.h>

#include <random>

namespace expertile {
namespace {

TEST(Statistics, OfTenValuesTheLimitsOfTheMedianAreTheLeastAndTheLargest) {
  const MedianLimits limits = median_limits({7, 3, 9, 1, 5, 10, 2, 8, 4, 6});
  EXPECT_EQ(limits.low, 1);
  EXPECT_EQ(limits.median, 5.5);
  EXPECT_EQ(limits.high, 10);
  EXPECT_EQ(limits.noise(), 4.5);
}

TEST(Statistics, OfTwentyValuesThreeOnEachSideLieOutside) {
  std::vector<double> values;
  for (int i = 1; i <= 20; ++i) values.push_back(i);  // at most two heads of 20 tosses: 2 of 10000
  const MedianLimits limits = median_limits(values);
  EXPECT_EQ(limits.low, 3);
  EXPECT_EQ(limits.high, 18);
}

TEST(Statistics, NoValuesHaveNoLimits) {
  EXPECT_EQ(median_limits({}).noise(), 0);
  EXPECT_EQ(median_of({}), 0);
}

TEST(Statistics, TheLimitsHoldTheMedianWhateverValuesAreDrawnFrom) {
  std::mt19937_64 generator(1);
  std::exponential_distribution<double> lopsided;
  const double median = std::log(2.0);
  int outside = 0;
  for (int i = 0; i < 2000; ++i) {
    std::vector<double> values(40);
    for (double& value : values) value = lopsided(generator);
    const MedianLimits limits = median_limits(values);
    outside += limits.low > median || limits.high < median ? 1 : 0;
  }
  EXPECT_LE(outside, 8);  // 2 of a thousand are four
}

TEST(Statistics, GainsArePairedAsFarAsBothRan) {
  EXPECT_EQ(gains_of({50, 150, 10}, {100, 100}), (std::vector<double>{0.5, -0.5}));
}

TEST(Statistics, TurnsOfDifferentThingsAreNoSpread) {
  std::vector<double> times;
  for (int i = 0; i < 24; ++i) times.push_back(i % 4 == 0 ? 100 : 200 + i % 4);
  EXPECT_EQ(spread_of(relative_times(times, 4)), 0);
  EXPECT_GT(spread_of(relative_times(times, 1)), 0.2);
}

TEST(Statistics, SpreadIsHalfOfWhatLiesBetweenTheSixths) {
  std::vector<double> relative;
  for (int i = 0; i < 20; ++i) relative.push_back(i < 10 ? 0.9 : 1.5);
  EXPECT_DOUBLE_EQ(spread_of(relative), 0.3);
  EXPECT_EQ(spread_of({0.1, 5}), 0);  // too few to tell
}

}  // namespace
}  // namespace expertile
