#include "tune/race.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <set>

namespace expertile {
namespace {

// Runs a race with scripted times: time(candidate, round).
Race run(std::size_t candidates, const std::function<double(std::size_t, std::size_t)>& time, std::size_t rounds = 24) {
  Race race(candidates);
  while (const auto heat = race.next(race.rounds() >= rounds ? 1 : 0))
    race.notify(*heat, time(heat->candidate, heat->round));
  return race;
}

TEST(Race, FindsTheFasterCandidate) {
  const Race race = run(6, [](std::size_t c, std::size_t) { return c == 4 ? 80.0 : 100.0 + static_cast<double>(c); });
  EXPECT_EQ(race.best({}), 4U);
}

TEST(Race, KeepsTheDefaultWhenNothingIsClearlyFaster) {
  const Race race = run(4, [](std::size_t c, std::size_t round) {
    return 100.0 + static_cast<double>((7 * c + 13 * round) % 11);  // noise of a tenth
  });
  EXPECT_EQ(race.best({}), 0U);
}

TEST(Race, IsNotFooledByAMachineThatDrifts) {
  // Every round is twice as slow as the one before; the pairs still say who is faster.
  const Race race = run(
      3, [](std::size_t c, std::size_t round) { return (c == 2 ? 90.0 : 100.0) * static_cast<double>(1ULL << round); },
      6);
  EXPECT_EQ(race.best({}), 2U);
}

TEST(Race, TimesTheDefaultInEveryRound) {
  const Race race = run(8, [](std::size_t c, std::size_t) { return c == 0 ? 500.0 : 100.0 + static_cast<double>(c); });
  EXPECT_EQ(race.times(0).size(), race.rounds());
}

TEST(Race, LetsTheSlowestLeave) {
  const Race race = run(9, [](std::size_t c, std::size_t) { return 100.0 + 10 * static_cast<double>(c); });
  EXPECT_EQ(race.times(8).size(), 2U);
  EXPECT_EQ(race.times(1).size(), race.rounds());
}

TEST(Race, NobodyLeavesForOneTimingThatAnotherProgramDisturbed) {
  for (std::size_t disturbed : {0U, 1U, 5U}) {
    const Race race = run(34, [&](std::size_t c, std::size_t round) {
      return round == disturbed && c == 20 ? 5000.0 : c == 20 ? 80.0 : 100.0 + static_cast<double>(c);
    });
    EXPECT_EQ(race.best({}), 20U);
  }
}

TEST(Race, KeepsTheNeighboursWinnerInsideTheNoise) {
  const auto time = [](std::size_t c, std::size_t) { return c == 0 ? 100.0 : c == 1 ? 80.0 : 80.2; };
  EXPECT_EQ(run(3, time).best({}), 1U);
  EXPECT_EQ(run(3, time).best(2), 2U);
  EXPECT_EQ(run(3, time).best(0), 1U);  // the default is far behind
}

TEST(Race, GivesUpANeighboursWinnerThatIsSlowerThanTheDefaultInTheRoundsThatBothRan) {
  // The machine slows down after two rounds, which the neighbour's winner has left: all the default's times make it
  // look better than it is.
  const auto time = [](std::size_t c, std::size_t round) {
    return (round < 2 ? 100.0 : 200.0) * (c == 0 ? 1.0 : c == 7 ? 1.05 : 1.01);
  };
  EXPECT_EQ(run(8, time).best(7), 0U);
}

TEST(Race, NamesAllThatLoseLittleAndRanLongEnoughToTell) {
  const Race race = run(5, [](std::size_t c, std::size_t) { return c == 0 ? 130 : c == 2 ? 100 : 100.8 + 0.1 * c; });
  EXPECT_EQ(race.about_as_fast_as(2, 0.01), (std::vector<std::size_t>{2, 1}));
  EXPECT_EQ(race.about_as_fast_as(2, 0.005), std::vector<std::size_t>{2});
  EXPECT_EQ(race.about_as_fast_as(2, 0.02), (std::vector<std::size_t>{2, 1}));  // 3 and 4 left after two rounds
  EXPECT_EQ(race.about_as_fast_as(0, 0), (std::vector<std::size_t>{0, 2, 1}));
}

TEST(Race, EndsWhenTimeIsOutButNotBeforeTwoRounds) {
  const Race race = run(
      5, [](std::size_t, std::size_t) { return 1.0; }, 0);
  EXPECT_EQ(race.rounds(), 2U);
}

}  // namespace
}  // namespace expertile
