#include "plan/built_in_tiles.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "support/devices.hpp"

namespace expertile {
namespace {

constexpr Problem kProblem{.experts = 32, .n = 4096, .k = 7168, .dtype = DType::bfloat16, .top_k = 8};

std::vector<DeviceInfo> devices() {
  return {{"Test_CPU", CpuInfo{}, 0, {}}, testing::a_gpu("sm_80"), testing::a_gpu("sm_90a")};
}

TEST(RowStep, EndsAtAsManyRowsAsACallMayHave) {
  EXPECT_EQ(row_step(0), 0);
  EXPECT_EQ(row_step(std::int64_t{1} << 31), kRowSteps - 1);
  EXPECT_EQ(row_step(std::int64_t{1} << 42), kRowSteps - 1);
  EXPECT_EQ(rows_of_step(kRowSteps - 1), std::int64_t{1} << 31);
  EXPECT_EQ(row_step(3), 3);
  for (int step = 4; step < kRowSteps; ++step) EXPECT_EQ(row_step(rows_of_step(step)), step);
}

TEST(RowStep, IsTheNearestPowerOfTheSquareRootOf2) {
  for (std::int64_t rows = 1; rows < (std::int64_t{1} << 31); rows += 1 + rows / 1000) {
    EXPECT_EQ(row_step(rows), std::lround(2 * std::log2(static_cast<double>(rows)))) << rows;
  }
}

TEST(BuiltInTiles, AreThoseOfTheHeuristic) {
  for (const DeviceInfo& device : devices()) {
    const BuiltInTiles tiles(kProblem, device);
    for (int step = 0; step < kRowSteps; ++step) {
      const std::int64_t rows = rows_of_step(step);
      const TileConfig& tile = tiles.of(rows);
      EXPECT_EQ(tile, built_in_tile(kProblem, rows, device)) << device.name << ", " << rows << " rows";
      EXPECT_EQ(tiles.all().at(tiles.place_of(rows)), tile);
      EXPECT_TRUE(check_tile(kProblem, tile, device));
    }
    for (const TileConfig& tile : tiles.all()) EXPECT_EQ(std::count(tiles.all().begin(), tiles.all().end(), tile), 1);
  }
}

// BLOCK_SIZE_K is a power of two, blocks of scales need not be.
TEST(BuiltInTiles, RunWithBlocksOfScalesOfAnyLength) {
  for (const std::int64_t block_k : {1, 13, 40, 96, 100, 128, 1000}) {
    for (const DType dtype : {DType::bfloat16, DType::fp8_w8a8, DType::int8_w8a16}) {
      Problem problem = kProblem;
      problem.dtype = dtype;
      problem.block_shape = BlockShape{.n = 64, .k = block_k};
      for (const DeviceInfo& device : devices()) {
        for (const TileConfig& tile : built_in_tiles(problem, device)) {
          const Status status = check_tile(problem, tile, device);
          EXPECT_TRUE(status) << block_k << ": " << status.error().message;
        }
      }
    }
  }
}

TEST(BuiltInTiles, AreWorkedOutOnceForRowsThatAreAskedFor) {
  for (const DeviceInfo& device : devices()) {
    const BuiltInTiles tiles(kProblem, device);
    EXPECT_EQ(tiles.known_steps(), 0);
    const TileConfig* first = &tiles.of(1000);
    EXPECT_EQ(tiles.known_steps(), 1);
    EXPECT_EQ(&tiles.of(1024), first);
    EXPECT_EQ(tiles.known_steps(), 1) << "1000 and 1024 rows are one step";
    EXPECT_EQ(&tiles.of(std::int64_t{1} << 40), &tiles.of(std::int64_t{1} << 31));
    EXPECT_EQ(tiles.known_steps(), 2);
  }
}

TEST(BuiltInTiles, AnswerSeveralThreads) {
  const BuiltInTiles tiles(kProblem, testing::a_gpu("sm_90a"));
  std::vector<std::thread> threads;
  std::vector<std::vector<const TileConfig*>> found(4);
  for (auto& of_thread : found) {
    threads.emplace_back([&] {
      for (int step = 0; step < kRowSteps; ++step) of_thread.push_back(&tiles.of(rows_of_step(step)));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& of_thread : found) EXPECT_EQ(of_thread, found.front());
}

}  // namespace
}  // namespace expertile
