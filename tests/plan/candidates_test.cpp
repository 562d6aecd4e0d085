#include "plan/candidates.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>

#include "plan/sm90/family.hpp"
#include "support/devices.hpp"

namespace expertile {
namespace {

DeviceInfo device() {
  CpuInfo cpu;
  cpu.threads = 2;
  return {"Test_CPU", cpu, 0, {}};
}

DeviceInfo hopper() {
  DeviceInfo info = testing::a_gpu("sm_90a");
  info.name = "Test_Hopper";
  return info;
}

TEST(Candidates, AreFewDifferentAndRunnable) {
  const Problem problem;
  const CandidateSet set = make_candidates(problem, 512, 8, device());
  ASSERT_GE(set.candidates.size(), 4U);
  ASSERT_LE(set.candidates.size(), 10U);
  for (const TileConfig& tile : set.candidates) {
    EXPECT_TRUE(check_tile(problem, tile, device()));
    EXPECT_EQ(std::count(set.candidates.begin(), set.candidates.end(), tile), 1);
  }
}

TEST(Candidates, EveryRefusalCarriesItsReasonWithValues) {
  const CandidateSet set = make_candidates(Problem{}, 16, 8, device());
  ASSERT_FALSE(set.refused.empty());
  for (const Refusal& refusal : set.refused) {
    EXPECT_FALSE(refusal.rule.empty());
    EXPECT_NE(refusal.reason.find_first_of("0123456789"), std::string::npos) << refusal.reason;
  }
}

TEST(CandidatesOnHopper, HaveNeighboursThatRunAndDifferInOneNumber) {
  const Problem problem{.experts = 8, .n = 4096, .k = 14336, .dtype = DType::int8_w8a16, .top_k = 2};
  for (const TileConfig& tile : make_candidates(problem, 8, 5, hopper()).candidates) {
    for (const TileConfig& other : neighbours(problem, tile, 8, 5, hopper())) {
      EXPECT_TRUE(check_tile(problem, other, hopper()));
      EXPECT_EQ(other.kernel, tile.kernel);
      EXPECT_EQ(other.block_size_m, tile.block_size_m);
      const int differences = (other.block_size_n != tile.block_size_n ? 1 : 0) +
                              (other.block_size_k != tile.block_size_k ? 1 : 0) +
                              (other.num_warps != tile.num_warps ? 1 : 0) +
                              (other.num_stages != tile.num_stages ? 1 : 0) + (other.split_k != tile.split_k ? 1 : 0);
      EXPECT_EQ(differences, 1) << describe(tile) << " and " << describe(other);
    }
  }
  const TileConfig portable{.block_size_m = 8,
                            .block_size_n = 64,
                            .block_size_k = 256,
                            .group_size_m = 8,
                            .num_warps = 4,
                            .num_stages = 4,
                            .swap_ab = 1,
                            .kernel = KernelFamily::sm80};
  EXPECT_GE(neighbours(problem, portable, 8, 5, hopper()).size(), 5U);
  EXPECT_TRUE(neighbours(problem, TileConfig{}, 8, 5, hopper()).empty());  // a CPU's
}

TEST(BuiltInTile, RunsAnyProblem) {
  std::mt19937_64 generator(1);
  for (int i = 0; i < 1000; ++i) {
    Problem problem;
    problem.experts = 1 + static_cast<std::int64_t>(generator() % 300);
    problem.n = 1 + static_cast<std::int64_t>(generator() % 30000);
    problem.k = 1 + static_cast<std::int64_t>(generator() % 30000);
    const TileConfig tile = built_in_tile(problem, static_cast<std::int64_t>(generator() % 100000), device());
    const Status status = check_tile(problem, tile, device());
    ASSERT_TRUE(status) << status.error().message;
  }
}

TEST(CheckTile, SaysWhichFieldIsImpossible) {
  EXPECT_EQ(check_tile(Problem{}, TileConfig{.block_size_m = 5000}, device()).error().message,
            "BLOCK_SIZE_M=5000 must be from 1 to 4096");
  EXPECT_EQ(
      check_tile(Problem{}, TileConfig{.block_size_m = 4096, .block_size_n = 4096}, device()).error().message,
      "BLOCK_SIZE_M=4096, BLOCK_SIZE_N=4096, BLOCK_SIZE_K=512, GROUP_SIZE_M=1 needs 145 MiB of scratch a thread, at "
      "most 64 MiB is allowed");
}

// ---- the Hopper family ------------------------------------------------------------------------------------------

std::string refusal_on_hopper(const Problem& problem, const TileConfig& tile) {
  const Status status = check_tile(problem, tile, hopper());
  return status ? "none" : status.error().message;
}

TEST(CheckTileOnHopper, WeightsThatAreWidenedTakeTheRowsInWholeBoxes) {
  const Problem problem{.n = 4096, .k = 4096, .dtype = DType::int8_w8a16};
  TileConfig tile{.block_size_m = 128,
                  .block_size_n = 128,
                  .block_size_k = 128,
                  .num_warps = 8,
                  .num_stages = 4,
                  .swap_ab = 1,
                  .kernel = KernelFamily::sm90};
  EXPECT_EQ(refusal_on_hopper(problem, tile), "none");
  tile.block_size_k = 64;
  EXPECT_EQ(refusal_on_hopper(problem, tile),
            "BLOCK_SIZE_M=128, BLOCK_SIZE_N=128, BLOCK_SIZE_K=64, GROUP_SIZE_M=1, num_warps=8, num_stages=4, "
            "SWAP_AB=1, SPLIT_K=1, PINGPONG=0, CLUSTER_SIZE=1, kernel=sm90: BLOCK_SIZE_K must be a multiple of 128 "
            "elements up to "
            "256");
  tile.block_size_k = 128;
  tile.swap_ab = 0;
  EXPECT_EQ(refusal_on_hopper(problem, tile),
            "BLOCK_SIZE_M=128, BLOCK_SIZE_N=128, BLOCK_SIZE_K=128, GROUP_SIZE_M=1, num_warps=8, num_stages=4, "
            "SWAP_AB=0, SPLIT_K=1, PINGPONG=0, CLUSTER_SIZE=1, kernel=sm90: SWAP_AB must be 1: int8 weights are "
            "widened in the "
            "registers of the tensor core's rows");
  tile.swap_ab = 1;
  tile.num_stages = 2;
  tile.block_size_m = 256;
  tile.num_warps = 4;  // 256 sums, and two sets of two blocks' weights
  EXPECT_EQ(refusal_on_hopper(problem, tile),
            "BLOCK_SIZE_M=256, BLOCK_SIZE_N=128, BLOCK_SIZE_K=128, GROUP_SIZE_M=1, num_warps=4, num_stages=2, "
            "SWAP_AB=1, SPLIT_K=1, PINGPONG=0, CLUSTER_SIZE=1, kernel=sm90: needs 276 registers a thread for sums, "
            "scales and weights, "
            "208 are allowed");
}

TEST(CheckTileOnHopper, Float32WeightsThatAreSplitTakeTheRows) {
  const Problem problem{.n = 4096, .k = 4096, .dtype = DType::float32};
  TileConfig tile{.block_size_m = 128,
                  .block_size_n = 256,
                  .block_size_k = 32,
                  .num_warps = 8,
                  .num_stages = 3,
                  .swap_ab = 1,
                  .kernel = KernelFamily::sm90};
  EXPECT_EQ(refusal_on_hopper(problem, tile), "none");
  tile.swap_ab = 0;
  EXPECT_EQ(refusal_on_hopper(problem, tile),
            "BLOCK_SIZE_M=128, BLOCK_SIZE_N=256, BLOCK_SIZE_K=32, GROUP_SIZE_M=1, num_warps=8, num_stages=3, "
            "SWAP_AB=0, SPLIT_K=1, PINGPONG=0, CLUSTER_SIZE=1, kernel=sm90: SWAP_AB must be 1: float32 weights are "
            "split into "
            "parts in the registers of the tensor core's rows");
  tile.swap_ab = 1;
  tile.num_stages = 4;  // of 16 KiB of tokens, as much of their small parts, and 32 KiB of weights
  EXPECT_EQ(refusal_on_hopper(problem, tile),
            "BLOCK_SIZE_M=128, BLOCK_SIZE_N=256, BLOCK_SIZE_K=32, GROUP_SIZE_M=1, num_warps=8, num_stages=4, "
            "SWAP_AB=1, SPLIT_K=1, PINGPONG=0, CLUSTER_SIZE=1, kernel=sm90: needs 273 KiB of shared memory, "
            "Test_Hopper has 227 "
            "KiB");
}

TEST(CheckTileOnHopper, PartsOfKTakeAClusterForOneTile) {
  const Problem problem{.n = 4096, .k = 4096, .dtype = DType::bfloat16};
  TileConfig tile{.block_size_m = 16,
                  .block_size_n = 64,
                  .block_size_k = 128,
                  .num_warps = 4,
                  .num_stages = 4,
                  .swap_ab = 1,
                  .kernel = KernelFamily::sm90};
  const std::string begin =
      "BLOCK_SIZE_M=16, BLOCK_SIZE_N=64, BLOCK_SIZE_K=128, GROUP_SIZE_M=1, num_warps=4, num_stages=4, SWAP_AB=1, ";
  for (const int parts : {1, 2, 4, 8}) {
    tile.split_k = parts;
    EXPECT_EQ(refusal_on_hopper(problem, tile), "none") << parts;
  }
  tile.split_k = 3;
  EXPECT_EQ(refusal_on_hopper(problem, tile),
            begin + "SPLIT_K=3, PINGPONG=0, CLUSTER_SIZE=1, kernel=sm90: SPLIT_K=3 must be 1, 2, 4 or 8");
  tile.split_k = 2;
  tile.cluster_size = 2;
  EXPECT_EQ(refusal_on_hopper(problem, tile),
            begin +
                "SPLIT_K=2, PINGPONG=0, CLUSTER_SIZE=2, kernel=sm90: CLUSTER_SIZE must be 1 with SPLIT_K: the "
                "blocks of a cluster have one tile then");
  tile.cluster_size = 1;
  tile.pingpong = 1;
  tile.num_warps = 8;
  EXPECT_NE(refusal_on_hopper(problem, tile).find("PINGPONG must be 0 with SPLIT_K"), std::string::npos);
}

TEST(CheckTileOnHopper, PartsOfKNeedRoomForTheirSums) {
  const Problem problem{.n = 4096, .k = 4096, .dtype = DType::bfloat16};
  TileConfig tile{.block_size_m = 64,
                  .block_size_n = 128,
                  .block_size_k = 64,
                  .num_warps = 4,
                  .num_stages = 9,  // of 24 KiB
                  .swap_ab = 1,
                  .kernel = KernelFamily::sm90};
  EXPECT_EQ(refusal_on_hopper(problem, tile), "none");
  tile.split_k = 2;
  EXPECT_NE(refusal_on_hopper(problem, tile).find("needs 241 KiB of shared memory, Test_Hopper has 227 KiB"),
            std::string::npos)
      << refusal_on_hopper(problem, tile);
  tile.split_k = 8;  // four blocks write 16 tokens each, the others none
  EXPECT_NE(refusal_on_hopper(problem, tile).find("needs 281 KiB of shared memory, Test_Hopper has 227 KiB"),
            std::string::npos)
      << refusal_on_hopper(problem, tile);
}

TEST(CheckTileOnHopper, ThreeWarpgroupsHaveThreeBlocksOfRowsAndFewerRegisters) {
  const Problem problem{.n = 4096, .k = 4096, .dtype = DType::bfloat16};
  TileConfig tile{.block_size_m = 192,
                  .block_size_n = 192,
                  .block_size_k = 64,
                  .num_warps = 12,
                  .num_stages = 4,
                  .kernel = KernelFamily::sm90};
  EXPECT_EQ(refusal_on_hopper(problem, tile), "none");
  tile.block_size_n = 256;
  EXPECT_NE(refusal_on_hopper(problem, tile).find("BLOCK_SIZE_N must be at most 192 with num_warps=12"),
            std::string::npos)
      << refusal_on_hopper(problem, tile);
  tile.block_size_n = 128;
  tile.block_size_m = 128;
  EXPECT_NE(refusal_on_hopper(problem, tile).find("BLOCK_SIZE_M must be a multiple of 192 up to 256"),
            std::string::npos)
      << refusal_on_hopper(problem, tile);
}

std::vector<TileConfig> with_parts(std::vector<TileConfig> tiles) {
  std::erase_if(tiles, [](const TileConfig& tile) { return tile.kernel != KernelFamily::sm90 || tile.split_k == 1; });
  return tiles;
}

TEST(CandidatesOnHopper, HavePartsOfKWhereTilesAreFew) {
  const Problem few{.experts = 1, .n = 4096, .k = 7168, .dtype = DType::bfloat16, .top_k = 1};
  const CandidateSet set = make_candidates(few, 8, 1, hopper());
  EXPECT_FALSE(with_parts(set.candidates).empty());
  for (const TileConfig& tile : with_parts(set.candidates)) {  // half as many parts would leave some idle
    EXPECT_LT(4096 / tile.block_size_n * tile.split_k / 2, 132) << describe(tile);
  }
  const auto refusal = std::find_if(set.refused.begin(), set.refused.end(), [](const Refusal& one) {
    return one.rule == "SPLIT_K with enough tiles" && one.tile.block_size_m == 64 && one.tile.block_size_n == 64 &&
           one.tile.split_k == 8;
  });
  ASSERT_NE(refusal, set.refused.end());
  EXPECT_EQ(refusal->reason, "SPLIT_K=8: 4 parts of about 64 tiles are enough for 132 multiprocessors");

  const Problem many{.experts = 8, .n = 4096, .k = 7168, .dtype = DType::bfloat16, .top_k = 2};
  EXPECT_TRUE(with_parts(make_candidates(many, 64, 8, hopper()).candidates).empty());
}

TEST(CandidatesOnHopper, HaveNoPartsOfAShortK) {
  const Problem problem{.experts = 1, .n = 512, .k = 512, .dtype = DType::bfloat16, .top_k = 1};
  const CandidateSet set = make_candidates(problem, 8, 1, hopper());
  const auto refusal = std::find_if(set.refused.begin(), set.refused.end(),
                                    [](const Refusal& one) { return one.rule == "SPLIT_K with a short K"; });
  ASSERT_NE(refusal, set.refused.end());
  EXPECT_EQ(refusal->reason, "SPLIT_K=2 parts of K=512, which has 4 slices of BLOCK_SIZE_K=128");
}

TEST(BuiltInTileOnHopper, HasPartsOfKWhereTilesAreFewAlone) {
  const auto parts = [](const Problem& problem, std::int64_t rows) {
    const TileConfig tile = built_in_tile(problem, rows, hopper());
    const auto all = built_in_tiles(problem, hopper());
    EXPECT_EQ(std::count(all.begin(), all.end(), tile), 1) << describe(tile);
    EXPECT_EQ(refusal_on_hopper(problem, tile), "none");
    return tile.split_k;
  };
  const Problem few{.experts = 1, .n = 2048, .k = 7168, .dtype = DType::bfloat16, .top_k = 1};
  EXPECT_EQ(parts(few, 1), 2);   // 64 blocks drew as much as 128 (DeepSeek-V3's gate_up)
  EXPECT_EQ(parts(few, 32), 2);  // 14.8 us; in four parts 15.0 and, with a multiprocessor for each block, 17.0
  EXPECT_EQ(parts(few, 4096), 1);
  const Problem many{.experts = 8, .n = 28672, .k = 4096, .dtype = DType::bfloat16, .top_k = 2};
  for (const std::int64_t rows : {2, 16, 256, 8192}) EXPECT_EQ(parts(many, rows), 1) << rows;
  EXPECT_TRUE(with_parts(built_in_tiles(many, hopper())).empty());
}

TEST(BuiltInTileOnHopper, IsOfTheFamilyThatMultipliesTheProblem) {
  const auto family = [](const Problem& problem) {
    for (const TileConfig& tile : built_in_tiles(problem, hopper())) {
      EXPECT_EQ(refusal_on_hopper(problem, tile), "none");
    }
    return built_in_tile(problem, 1024, hopper()).kernel;
  };
  Problem problem{.n = 4096, .k = 4096, .dtype = DType::int8_w8a16};
  EXPECT_EQ(family(problem), KernelFamily::sm90);
  problem.block_shape = BlockShape{128, 128};
  EXPECT_EQ(family(problem), KernelFamily::sm90);
  problem.block_shape = BlockShape{128, 64};  // half a box of weights
  EXPECT_EQ(family(problem), KernelFamily::sm80);
  problem = {.n = 4096, .k = 4096, .dtype = DType::float32, .tf32 = true};
  EXPECT_EQ(family(problem), KernelFamily::sm90);
  problem.tf32 = false;  // float32's accuracy
  EXPECT_EQ(family(problem), KernelFamily::sm90);
}

TEST(BuiltInTileOnHopper, IsLargeForManyRowsInEveryDtypeAndScaleScheme) {
  for (const DType dtype :
       {DType::float16, DType::bfloat16, DType::float32, DType::fp8_w8a8, DType::int8_w8a8, DType::int8_w8a16}) {
    for (const bool blocks : {false, true}) {
      Problem problem{.experts = 8, .n = 4096, .k = 4096, .dtype = dtype, .top_k = 2};
      if (blocks) problem.block_shape = BlockShape{128, 128};
      if (blocks) problem.scales = Scales::block;
      const TileConfig tile = built_in_tile(problem, 8192, hopper());
      EXPECT_EQ(tile.kernel, KernelFamily::sm90) << name(dtype);
      EXPECT_GE(tile.block_size_m, 96) << name(dtype) << (blocks ? " with blocks: " : ": ") << describe(tile);
      const TileConfig small = built_in_tile(problem, 8, hopper());
      EXPECT_LE(small.block_size_m, 64) << name(dtype) << (blocks ? " with blocks: " : ": ") << describe(small);
    }
  }
}

// A problem of bench/RESULTS.md: DeepSeek-V3's gate_up at 8-way expert parallel, or Mixtral's, or Qwen3's down.
Problem deepseek_gate_up(DType dtype) { return {.experts = 32, .n = 4096, .k = 7168, .dtype = dtype, .top_k = 1}; }
Problem mixtral_gate_up(DType dtype) { return {.experts = 8, .n = 28672, .k = 4096, .dtype = dtype, .top_k = 2}; }
Problem qwen3_down(DType dtype) { return {.experts = 128, .n = 2048, .k = 768, .dtype = dtype, .top_k = 8}; }

DeviceInfo with_memory_rate(std::int64_t bytes_per_second) {
  DeviceInfo info = hopper();
  std::get<GpuInfo>(info.numbers).memory_bytes_per_second = bytes_per_second;
  return info;
}
DeviceInfo h100() { return with_memory_rate(3352320000000); }

// What measured best, or within 7% of it, on an H100 and on an H200 (bench/NOTES.md).
TEST(BuiltInTileOnHopper, IsOneThatMeasuredWell) {
  const auto shape = [](Problem problem, std::int64_t rows) {
    if (problem.dtype == DType::int8_w8a16) problem.scales = Scales::per_channel;
    const TileConfig tile = built_in_tile(problem, rows, h100());
    return std::array{tile.block_size_m, tile.block_size_n, tile.swap_ab, tile.pingpong, tile.cluster_size};
  };
  EXPECT_EQ(shape(deepseek_gate_up(DType::bfloat16), 16384), (std::array{192, 128, 0, 1, 2}));
  EXPECT_EQ(shape(mixtral_gate_up(DType::bfloat16), 32768), (std::array{192, 128, 0, 1, 2}));
  EXPECT_EQ(shape(qwen3_down(DType::bfloat16), 131072), (std::array{192, 128, 0, 1, 2}));
  EXPECT_EQ(shape(qwen3_down(DType::int8_w8a8), 131072), (std::array{128, 128, 0, 1, 2}));
  EXPECT_EQ(shape(mixtral_gate_up(DType::fp8_w8a8), 32768), (std::array{192, 128, 0, 0, 2}));
  EXPECT_EQ(shape(deepseek_gate_up(DType::int8_w8a16), 16384), (std::array{192, 128, 1, 0, 2}));
  EXPECT_EQ(shape(mixtral_gate_up(DType::int8_w8a16), 2048), (std::array{192, 128, 1, 0, 2}));
  EXPECT_EQ(shape(mixtral_gate_up(DType::float32), 2048), (std::array{96, 256, 1, 0, 2}));
  EXPECT_EQ(shape(mixtral_gate_up(DType::float32), 32768), (std::array{128, 256, 1, 0, 1}));
}

TEST(BuiltInTileOnHopper, HoldsTheRowsOfMostGroupsWhereTheyAreFewAndIsNotMuchTallerThanThem) {
  for (const DType dtype :
       {DType::float16, DType::bfloat16, DType::float32, DType::fp8_w8a8, DType::int8_w8a8, DType::int8_w8a16}) {
    for (const std::int64_t rows_a_group : {1, 2, 4, 8, 16}) {
      const TileConfig tile = built_in_tile(mixtral_gate_up(dtype), 8 * rows_a_group, h100());
      EXPECT_GE(tile.block_size_m, 1.25 * static_cast<double>(rows_a_group)) << name(dtype) << ": " << describe(tile);
      EXPECT_LE(tile.block_size_m, std::max<std::int64_t>(32, 8 * rows_a_group))
          << name(dtype) << ": " << describe(tile);
    }
  }
}

TEST(BuiltInTileOnHopper, IsEstimatedByTheMemoryOfTheDevice) {
  const Problem problem = deepseek_gate_up(DType::bfloat16);
  const auto microseconds = [&](std::int64_t rows, std::int64_t memory_rate) {
    const DeviceInfo info = with_memory_rate(memory_rate);
    return 1e6 * sm90::estimate_seconds(problem, built_in_tile(problem, rows, info), rows, 32, info);
  };
  constexpr std::int64_t kH100 = 3352320000000;
  constexpr std::int64_t kH200 = 4917000000000;
  EXPECT_NEAR(microseconds(1024, kH100), 632, 0.05 * 632);  // measured on an H100
  EXPECT_NEAR(microseconds(1024, kH200), 439, 0.05 * 439);  // on an H200
  EXPECT_NEAR(microseconds(16384, kH100) / microseconds(16384, kH200), 1, 0.02);
  EXPECT_DOUBLE_EQ(microseconds(1024, 0), microseconds(1024, 4900000000000)) << "where it is not known";
}

}  // namespace
}  // namespace expertile
