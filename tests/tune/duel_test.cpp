#include "tune/duel.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

namespace expertile {
namespace {

// Runs a duel with scripted times; each timing takes `share` of the time that is set for it.
Duel run(const std::function<double(const Heat&)>& time, double share = 0) {
  Duel duel;
  double spent = 0;
  while (const auto heat = duel.next(spent)) {
    duel.notify(*heat, time(*heat));
    spent += share;
  }
  return duel;
}

bool challenger_wins(const Duel& duel) {
  const Verdict verdict = duel.verdict();
  return verdict.is_clearly_faster(verdict.gain.noise());
}

TEST(Duel, FindsAFasterChallengerInTenRounds) {
  const Duel duel = run([](const Heat& heat) { return heat.candidate == 0 ? 100.0 : 80.0; });
  EXPECT_TRUE(challenger_wins(duel));
  EXPECT_EQ(duel.rounds(), 10U);
  EXPECT_EQ(duel.verdict().default_us, 100);
  EXPECT_EQ(duel.verdict().challenger_us, 80);
  EXPECT_NEAR(duel.verdict().gain.median, 0.2, 1e-12);
}

TEST(Duel, TheTwoTakeTurnsInBeginningARound) {
  std::vector<std::size_t> order;
  const Duel duel = run([&](const Heat& heat) {
    order.push_back(heat.candidate);
    return heat.candidate == 0 ? 100.0 : 80.0;
  });
  EXPECT_EQ(std::vector<std::size_t>(order.begin(), order.begin() + 8),
            (std::vector<std::size_t>{0, 1, 1, 0, 0, 1, 1, 0}));
}

TEST(Duel, EndsEarlyWhereNothingIsToBeGained) {
  EXPECT_EQ(run([](const Heat&) { return 100.0; }).rounds(), 10U);
  const Duel slower = run([](const Heat& heat) { return heat.candidate == 0 ? 100.0 : 104.0; });
  EXPECT_EQ(slower.rounds(), 10U);
  EXPECT_FALSE(challenger_wins(slower));
}

TEST(Duel, AGainThatIsNotWorthADifferentTileIsNone) {
  EXPECT_FALSE(challenger_wins(run([](const Heat& heat) { return heat.candidate == 0 ? 100.0 : 99.8; })));
}

TEST(Duel, TakesLongerThanItsTimeWhereTheNoiseIsLarge) {
  std::mt19937_64 generator(3);
  const auto noisy = [&](double deviation) {
    std::normal_distribution<double> noise(0, deviation);
    return run([&](const Heat& heat) { return std::exp(noise(generator)) * (heat.candidate == 0 ? 100 : 98.5); }, 0.05);
  };
  EXPECT_EQ(noisy(0.001).rounds(), 10U);  // its time is spent after ten rounds
  EXPECT_GE(noisy(0.1).rounds(), 40U);
}

TEST(Duel, OfTwoThatAreAlikeTheDefaultStaysWhateverTheNoise) {
  std::mt19937_64 generator(4);
  std::uniform_real_distribution<double> chance;
  for (const double deviation : {0.002, 0.02, 0.2}) {
    std::normal_distribution<double> noise(0, deviation);
    int wrong = 0;
    for (int i = 0; i < 500; ++i) {
      wrong += challenger_wins(run([&](const Heat&) {
        const double burst = chance(generator) < 0.1 ? 50 : 1;  // another program takes the processors for a while
        return 100 * burst * std::exp(noise(generator));
      }));
    }
    EXPECT_LE(wrong, 2) << deviation;
  }
}

TEST(Duel, AGainSmallerThanTheNoiseThatIsKnownIsNone) {
  const Verdict verdict = run([](const Heat& heat) { return heat.candidate == 0 ? 100.0 : 80.0; }).verdict();
  EXPECT_TRUE(verdict.is_clearly_faster(0.15));
  EXPECT_FALSE(verdict.is_clearly_faster(0.25));
}

TEST(Duel, NothingTimedIsNoVerdictForTheChallenger) { EXPECT_FALSE(challenger_wins(Duel())); }

}  // namespace
}  // namespace expertile
