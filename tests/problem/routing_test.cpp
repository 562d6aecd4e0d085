#include "problem/routing.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace expertile {
namespace {

std::vector<std::int64_t> counts(const RoutingSample& sample) {
  std::vector<std::int64_t> out;
  for (std::size_t g = 0; g + 1 < sample.seg_indptr.size(); ++g) {
    out.push_back(sample.seg_indptr[g + 1] - sample.seg_indptr[g]);
  }
  return out;
}

TEST(Routing, GivesEveryTokenDifferentExperts) {
  const Routing routing = *parse_routing("uniform", 7);
  const auto samples = routing_samples(routing, 8, 2, 33, 5);
  ASSERT_TRUE(samples);
  ASSERT_EQ(samples->size(), 5U);
  for (const RoutingSample& sample : *samples) {
    EXPECT_EQ(sample.rows(), 66);
    const auto rows = counts(sample);
    EXPECT_LE(*std::max_element(rows.begin(), rows.end()), 33);  // an expert takes a token at most once
  }
}

TEST(Routing, IsTheSameForTheSameSeedAndAnotherForAnother) {
  const auto first = [](std::uint64_t seed) {
    return counts(routing_samples(*parse_routing("uniform", seed), 64, 4, 100, 1)->front());
  };
  EXPECT_EQ(first(1), first(1));
  EXPECT_NE(first(1), first(2));
}

TEST(Routing, ZipfIsMoreSkewedThanUniform) {
  const auto busiest = [](const char* text) {
    const auto rows = counts(routing_samples(*parse_routing(text, 0), 64, 2, 1000, 1)->front());
    return *std::max_element(rows.begin(), rows.end());
  };
  EXPECT_GT(busiest("zipf:1.2"), 3 * busiest("uniform"));
}

class TraceFile : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = (std::filesystem::temp_directory_path() / ("expertile-trace-" + std::to_string(getpid()))).string();
  }
  void TearDown() override { std::filesystem::remove(path_); }
  Result<Routing> parse(const std::string& content) {
    std::ofstream(path_) << content;
    return parse_routing("trace:" + path_, 0);
  }
  std::string path_;
};

TEST_F(TraceFile, GivesEachOfItsLines) {
  const auto routing = parse("3 0 1\n0,2,2\n");
  ASSERT_TRUE(routing) << routing.error().message;
  const auto samples = routing_samples(*routing, 3, 2, 999, 1);
  ASSERT_TRUE(samples);
  ASSERT_EQ(samples->size(), 2U);
  EXPECT_EQ(counts((*samples)[1]), (std::vector<std::int64_t>{0, 2, 2}));
  EXPECT_EQ((*samples)[0].active_groups(), 2);
}

TEST_F(TraceFile, NamesTheLineThatIsWrong) {
  EXPECT_EQ(parse("1 2\n3 x\n").error().message,
            "trace file '" + path_ + "', line 2: 'x' is not a row count; give a whole number from 0 to 2147483648");
  EXPECT_EQ(parse("").error().message,
            "trace file '" + path_ + "' is empty; give one line of per-expert row counts per sample");
  EXPECT_EQ(routing_samples(*parse("1 2\n"), 3, 2, 1, 1).error().message,
            "routing 'trace:" + path_ + "': sample 1 has 2 row counts, the problem has 3 experts");
}

TEST(Routing, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(parse_routing("random", 0).error().message,
            "routing 'random' is not known; choose uniform, zipf:ALPHA or trace:FILE");
  EXPECT_EQ(parse_routing("zipf:-1", 0).error().message,
            "routing 'zipf:-1': '-1' is not an exponent; give a number from 0 to 10");
  EXPECT_EQ(parse_routing("trace:/no/such", 0).error().message, "trace file '/no/such' cannot be read");
}

}  // namespace
}  // namespace expertile
