#include <gtest/gtest.h>

#include <cmath>

#include "plan/gpu/rows.hpp"
#include "plan/row_steps.hpp"

namespace expertile::gpu {
namespace {

// The same by adding up every term.
double plain_sum(const RowsOfAGroup& rows, double first, double step, double count) {
  double sum = 0;
  for (double place = 0; place < count; ++place) sum += rows.chance_of_more(first + place * step);
  return sum;
}

double plain_parts(const RowsOfAGroup& rows, int part) {
  double parts = 1;
  for (double more = part; rows.chance_of_more(more) >= 1e-3; more += part) parts += rows.chance_of_more(more);
  return parts;
}

TEST(SumOfChances, IsThePlainSum) {
  for (const double groups : {1.0, 1.7, 8.0, 128.0}) {
    for (const double mean : {1.0, 3.0, 20.5, 64.0, 1000.0, 4096.0, 123456.0}) {
      const RowsOfAGroup rows{groups == 1 ? std::floor(mean) : mean, groups};
      for (const int step : {8, 64, 192}) {
        for (const double first : {0.0, 8.0, 64.0}) {
          // To the mean, a little beyond it, and far beyond.
          for (const double count : {0.0, 1.0, std::ceil(mean / step + 1), 2 * std::ceil(mean / step) + 100}) {
            const double plain = plain_sum(rows, first, step, count);
            EXPECT_NEAR(sum_of_chances(rows, first, step, count).value, plain, 1e-9 * std::max(1.0, plain))
                << groups << " groups, " << mean << " rows, step " << step << ", first " << first << ", " << count;
          }
        }
      }
    }
  }
}

TEST(ExpectedParts, IsThePlainSumToWhereMoreRowsAreSeldom) {
  for (const double groups : {1.0, 2.0, 32.0, 256.0}) {
    for (const double mean : {1.0, 2.0, 7.0, 33.0, 512.0, 16384.0, 500000.0}) {
      for (const int part : {8, 24, 64, 128, 256}) {
        const double plain = plain_parts({mean, groups}, part);
        EXPECT_NEAR(expected_parts({mean, groups}, part), plain, 1e-9 * plain)
            << groups << " groups, " << mean << " rows, parts of " << part;
      }
    }
  }
}

TEST(SumOfChances, TakesNoMoreWorkForMoreRows) {
  for (const double groups : {1.0, 8.0, 256.0}) {
    for (int step = 0; step < kRowSteps; ++step) {
      const auto rows = static_cast<double>(rows_of_step(step));
      for (const int part : {8, 64, 256}) {
        const ChanceSum sum = sum_of_chances({std::max(1.0, rows / groups), groups}, part, part, rows);
        EXPECT_LE(sum.terms, kMostTerms) << rows << " rows in " << groups << " groups, parts of " << part;
        EXPECT_TRUE(std::isfinite(sum.value));
      }
    }
  }
}

TEST(ExpectedParts, OfVeryManyRowsAreAsManyAsThereAre) {
  EXPECT_NEAR(expected_parts({0x1p31, 1}, 8), 0x1p28, 1) << "a plain sum would have 2^28 terms";
  EXPECT_NEAR(expected_parts({0x1p28, 8}, 8), 0x1p25 + 0.5, 2);
}

}  // namespace
}  // namespace expertile::gpu
