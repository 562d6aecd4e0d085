#include "plan/tile_schema.hpp"

#include <gtest/gtest.h>

#include "plan/candidates.hpp"
#include "store/config_file.hpp"
#include "support/devices.hpp"

namespace expertile {
namespace {

// A tile of the family whose fields all have a value of their own.
TileConfig tile_of(KernelFamily family) {
  TileConfig tile{.block_size_m = 8, .block_size_n = 32, .block_size_k = 32, .group_size_m = 7, .kernel = family};
  for (const TileField& field : kTileFields) {
    const Values& values = field.of(family);
    if (values.kind == Values::Kind::listed) tile.*field.member = values.list[values.listed - 1];
    if (values.kind == Values::Kind::unread) tile.*field.member = 3;
  }
  if (family == KernelFamily::sm80) tile.num_warps = 8;
  if (family == KernelFamily::sm80) tile.split_k = 4;
  if (family != KernelFamily::cpu) tile.num_stages = 5;
  return tile;
}

TEST(TileSchema, EveryFieldOfEveryFamilyComesBackFromAFile) {
  ConfigFile file;
  for (const KernelFamily family : kFamilies) file.tiles[1 + static_cast<int>(family)] = tile_of(family);
  const auto read = parse_config(to_text(file), "f.json");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->file.tiles, file.tiles);
  EXPECT_TRUE(read->warnings.empty());
  for (const auto& [batch, tile] : file.tiles) {
    EXPECT_EQ(wrong_field(tile), "");
    for (const TileField& field : kTileFields) {
      EXPECT_EQ(tile.*field.member != field.neutral(), field.belongs_to(tile.kernel)) << field.key;
    }
  }
}

TEST(TileSchema, FilesHaveTheFieldsOfTheTilesFamilyAlone) {
  const auto keys = [](KernelFamily family) {
    std::string text;
    for (const auto& [key, number] : tile_numbers({.kernel = family})) text += key + " ";
    return text;
  };
  EXPECT_EQ(keys(KernelFamily::cpu), "BLOCK_SIZE_M BLOCK_SIZE_N BLOCK_SIZE_K GROUP_SIZE_M num_warps num_stages ");
  EXPECT_EQ(keys(KernelFamily::sm80), keys(KernelFamily::cpu) + "SWAP_AB SPLIT_K ");
  EXPECT_EQ(keys(KernelFamily::sm90), keys(KernelFamily::sm80) + "PINGPONG CLUSTER_SIZE CLUSTER_M ");
}

TEST(TileSchema, DescribesWhatTheFamilyHasAndWhatIsWrong) {
  EXPECT_EQ(describe({}), "BLOCK_SIZE_M=32, BLOCK_SIZE_N=64, BLOCK_SIZE_K=512, GROUP_SIZE_M=1");
  EXPECT_EQ(describe({.num_warps = 4, .split_k = 2}),
            "BLOCK_SIZE_M=32, BLOCK_SIZE_N=64, BLOCK_SIZE_K=512, GROUP_SIZE_M=1, SPLIT_K=2");
  EXPECT_EQ(describe({.kernel = KernelFamily::sm90, .cluster_m = 2}),
            "BLOCK_SIZE_M=32, BLOCK_SIZE_N=64, BLOCK_SIZE_K=512, GROUP_SIZE_M=1, num_warps=1, num_stages=1, "
            "SWAP_AB=0, SPLIT_K=1, PINGPONG=0, CLUSTER_SIZE=1, CLUSTER_M=2, kernel=sm90");
}

// Why the family's tile cannot have this value in the field; it can have its own.
std::string wrong(KernelFamily family, const char* key, int value) {
  TileConfig tile = tile_of(family);
  EXPECT_EQ(wrong_field(tile), "");
  tile.*find_field(key)->member = value;
  return wrong_field(tile);
}

TEST(TileSchema, SaysWhichNumberIsOutOfRangeAndWhatWouldBeRight) {
  constexpr auto kCpu = KernelFamily::cpu;
  constexpr auto kSm80 = KernelFamily::sm80;
  constexpr auto kSm90 = KernelFamily::sm90;
  EXPECT_EQ(wrong(kCpu, "BLOCK_SIZE_M", 4097), "BLOCK_SIZE_M=4097 must be from 1 to 4096");
  EXPECT_EQ(wrong(kCpu, "BLOCK_SIZE_N", 0), "BLOCK_SIZE_N=0 must be from 1 to 4096");
  EXPECT_EQ(wrong(kCpu, "BLOCK_SIZE_K", 65537), "BLOCK_SIZE_K=65537 must be from 1 to 65536");
  EXPECT_EQ(wrong(kCpu, "GROUP_SIZE_M", -1), "GROUP_SIZE_M=-1 must be from 1 to 65536");
  EXPECT_EQ(wrong(kCpu, "num_warps", 64), "") << "other tools' files have it, and nothing reads it";
  EXPECT_EQ(wrong(kCpu, "num_stages", 64), "");

  EXPECT_EQ(wrong(kSm80, "BLOCK_SIZE_M", 12), "BLOCK_SIZE_M=12 must be a multiple of 8 from 8 to 256");
  EXPECT_EQ(wrong(kSm80, "BLOCK_SIZE_N", 272), "BLOCK_SIZE_N=272 must be a multiple of 16 from 16 to 256");
  EXPECT_EQ(wrong(kSm80, "BLOCK_SIZE_K", 96), "BLOCK_SIZE_K=96 must be a power of two up to 1024");
  EXPECT_EQ(wrong(kSm80, "GROUP_SIZE_M", 0), "GROUP_SIZE_M=0 must be from 1 to 65536");
  EXPECT_EQ(wrong(kSm80, "num_warps", 3), "num_warps=3 must be a power of two up to 16");
  EXPECT_EQ(wrong(kSm80, "num_stages", 1), "num_stages=1 must be from 2 to 16");
  EXPECT_EQ(wrong(kSm80, "SWAP_AB", 2), "SWAP_AB=2 must be 0 or 1");
  EXPECT_EQ(wrong(kSm80, "SPLIT_K", 0), "SPLIT_K=0 must be a power of two up to 16");

  EXPECT_EQ(wrong(kSm90, "BLOCK_SIZE_M", 0), "BLOCK_SIZE_M=0 must be a multiple of 8 from 8 to 256");
  EXPECT_EQ(wrong(kSm90, "BLOCK_SIZE_N", 48), "BLOCK_SIZE_N=48 must be a multiple of 32 from 32 to 256");
  EXPECT_EQ(wrong(kSm90, "BLOCK_SIZE_K", 544), "BLOCK_SIZE_K=544 must be a multiple of 32 from 32 to 512");
  EXPECT_EQ(wrong(kSm90, "GROUP_SIZE_M", 65537), "GROUP_SIZE_M=65537 must be from 1 to 65536");
  EXPECT_EQ(wrong(kSm90, "num_warps", 16), "num_warps=16 must be 4, 8 or 12");
  EXPECT_EQ(wrong(kSm90, "num_stages", 33), "num_stages=33 must be from 2 to 32");
  EXPECT_EQ(wrong(kSm90, "SWAP_AB", -1), "SWAP_AB=-1 must be 0 or 1");
  EXPECT_EQ(wrong(kSm90, "SPLIT_K", 3), "SPLIT_K=3 must be 1, 2, 4 or 8");
  EXPECT_EQ(wrong(kSm90, "PINGPONG", 2), "PINGPONG=2 must be 0 or 1");
  EXPECT_EQ(wrong(kSm90, "CLUSTER_SIZE", 3), "CLUSTER_SIZE=3 must be 1, 2 or 4");
  EXPECT_EQ(wrong(kSm90, "CLUSTER_M", 4), "CLUSTER_M=4 must be 1 or 2");
}

TEST(TileSchema, SaysThatAFieldIsNotOfTheFamily) {
  for (const KernelFamily family : kFamilies) {
    for (const TileField& field : kTileFields) {
      if (field.belongs_to(family)) continue;
      EXPECT_EQ(wrong(family, field.key.data(), 2),
                std::string(field.key) + "=2 is not a field of family " + std::string(name(family)));
    }
  }
}

// The portable kernels would write one of the two row tiles alone.
TEST(CheckTileOnAGpu, RefusesClustersInThePortableFamily) {
  const Problem problem{.n = 1024, .k = 1024, .dtype = DType::float16};
  TileConfig tile{.block_size_m = 64,
                  .block_size_n = 64,
                  .block_size_k = 64,
                  .num_warps = 4,
                  .num_stages = 3,
                  .kernel = KernelFamily::sm80};
  ASSERT_TRUE(check_tile(problem, tile, testing::a_gpu("sm_80")));
  tile.cluster_m = 2;
  const Status refused = check_tile(problem, tile, testing::a_gpu("sm_80"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "BLOCK_SIZE_M=64, BLOCK_SIZE_N=64, BLOCK_SIZE_K=64, GROUP_SIZE_M=1, num_warps=4, num_stages=3, SWAP_AB=0, "
            "SPLIT_K=1, CLUSTER_M=2, kernel=sm80: CLUSTER_M=2 is not a field of family sm80");
}

TEST(TileSchema, FindsFamiliesByName) {
  for (const KernelFamily family : kFamilies) EXPECT_EQ(family_named(name(family)), family);
  EXPECT_EQ(family_named("sm100"), std::nullopt);
}

}  // namespace
}  // namespace expertile
