// How far a run is, with a clock that the test sets.

#include "run/pace.hpp"

#include <gtest/gtest.h>

namespace expertile::run {
namespace {

TEST(Pace, GuessesUntilABatchSizeIsDoneAndJudgesByThoseAfterwards) {
  Pace pace(4, 5, 0);
  EXPECT_DOUBLE_EQ(pace.seconds_left(0), 20);
  pace.begin_batch(1);
  EXPECT_DOUBLE_EQ(pace.seconds_left(3), 18);
  pace.end_batch(9);  // nine seconds each, it seems
  EXPECT_EQ(pace.done(), 1);
  EXPECT_DOUBLE_EQ(pace.seconds_left(9), 27);
  EXPECT_DOUBLE_EQ(pace.seconds_left(12), 24);
  EXPECT_DOUBLE_EQ(pace.seconds_left(100), 0) << "never negative";
}

TEST(Pace, TheShareNeverFallsAndIsOneAtTheEnd) {
  Pace pace(3, 5, 0);
  double share = 0;
  double now = 0;
  for (const double seconds : {20.0, 1.0, 4.0}) {  // slower than the guess, faster, slower again
    for (int part = 0; part < 10; ++part) {
      now += seconds / 10;
      EXPECT_GE(pace.share_done(now), share);
      share = pace.share_done(now);
      EXPECT_LT(share, 1);
    }
    pace.end_batch(now);
    EXPECT_GT(pace.share_done(now), share);
    share = pace.share_done(now);
  }
  EXPECT_EQ(share, 1);
  EXPECT_EQ(pace.seconds_left(now), 0);
}

}  // namespace
}  // namespace expertile::run
