// Which tiles a block's warp finds, and in which order it takes the groups.

#include "scheduler.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <ptx90.hpp>  // the emulator's
#include <random>
#include <tuple>
#include <vector>

#include "emulator/emulator.hpp"

namespace expertile::testing {
namespace {

constexpr int kGroups = 40;  // a warp has 32 in hand
constexpr int kMostTiles = 4096;

struct FoundTile {
  int expert = 0;
  int rows = 0;
  long long row = 0;
  long long column = 0;
};

constexpr TileConfig tile_of(int m, int swap_ab) {
  TileConfig tile;
  tile.block_size_m = m;
  tile.block_size_n = 64;
  tile.group_size_m = 2;
  tile.swap_ab = swap_ab;
  tile.kernel = KernelFamily::sm90;
  return tile;
}

// Rows of 40 groups, some of them none.
std::vector<long long> ragged_segments() {
  std::mt19937 generator(7);
  std::uniform_int_distribution<int> rows(0, 500);
  std::vector<long long> segments{0};
  for (int g = 0; g < kGroups; ++g) segments.push_back(segments.back() + (g % 9 == 4 ? 0 : rows(generator)));
  return segments;
}

// All tiles in the order in which a kernel with this tile numbers them.
template <TileConfig TILE>
std::vector<FoundTile> found_tiles(const std::vector<long long>& segments, int n) {
  std::vector<long long> experts(kGroups);
  std::iota(experts.rbegin(), experts.rend(), 0LL);  // so that nobody takes a group's number for its expert's
  std::vector<FoundTile> found(kMostTiles);
  KernelArgs args;
  args.seg_indptr = segments.data();
  args.weight_indices = experts.data();
  args.groups = kGroups;
  args.experts = kGroups;
  args.rows = static_cast<int>(segments.back());
  args.n = n;
  int count = 0;
  const emulator::Launch launch{
      .threads = 32,
      .shared_bytes = 16,
      .memory = {{"seg_indptr", const_cast<long long*>(segments.data()), segments.size() * sizeof(long long), false},
                 {"weight_indices", experts.data(), experts.size() * sizeof(long long), false}}};
  const auto status = emulator::run(launch, [&] {
    GroupCursor cursor;
    for (int wanted = 0;; ++wanted) {
      const OutputTile tile = find_tile<TILE>(args, cursor, wanted);
      if (tile.rows < 0) return;
      if (ptx::thread_index() != 0) continue;
      found[static_cast<std::size_t>(wanted)] = {tile.expert, tile.rows, tile.row, tile.column};
      count = wanted + 1;
    }
  });
  EXPECT_TRUE(status) << status.error().message;
  found.resize(static_cast<std::size_t>(count));
  return found;
}

// Every row of every group is in one tile of each column, with the group's expert.
void expect_all_rows_once(const std::vector<FoundTile>& tiles, const std::vector<long long>& segments, int n) {
  std::vector<std::tuple<long long, long long, int>> cells;  // column, row, expert
  for (const FoundTile& tile : tiles) {
    for (int r = 0; r < tile.rows; ++r) cells.emplace_back(tile.column, tile.row + r, tile.expert);
  }
  std::sort(cells.begin(), cells.end());
  std::vector<std::tuple<long long, long long, int>> wanted;
  for (long long column = 0; column < n; column += 64) {
    for (int g = 0; g < kGroups; ++g) {
      for (long long row = segments[g]; row < segments[g + 1]; ++row) wanted.emplace_back(column, row, kGroups - 1 - g);
    }
  }
  EXPECT_TRUE(cells == wanted) << cells.size() << " rows of columns instead of " << wanted.size();
}

// The groups' rows in the order in which their first tiles come.
std::vector<long long> rows_in_order(const std::vector<FoundTile>& tiles, const std::vector<long long>& segments) {
  std::vector<long long> rows;
  int last = -1;
  for (const FoundTile& tile : tiles) {
    if (tile.expert == last) continue;
    last = tile.expert;
    const int group = kGroups - 1 - tile.expert;
    rows.push_back(segments[group + 1] - segments[group]);
  }
  return rows;
}

TEST(Scheduler, FindsEveryRowOfEveryGroupOnce) {
  const auto segments = ragged_segments();
  expect_all_rows_once(found_tiles<tile_of(64, 0)>(segments, 150), segments, 150);
  expect_all_rows_once(found_tiles<tile_of(128, 0)>(segments, 150), segments, 150);
  expect_all_rows_once(found_tiles<tile_of(96, 1)>(segments, 150), segments, 150);
}

TEST(Scheduler, FindsEveryRowOfEveryGroupOnceWhereverTheFirstBegins) {
  for (const long long before : {1LL, 63LL, 100000LL}) {
    auto segments = ragged_segments();
    for (long long& offset : segments) offset += before;
    expect_all_rows_once(found_tiles<tile_of(64, 0)>(segments, 150), segments, 150);
    expect_all_rows_once(found_tiles<tile_of(128, 0)>(segments, 150), segments, 150);
    expect_all_rows_once(found_tiles<tile_of(96, 1)>(segments, 150), segments, 150);
  }
}

// What the blocks of clusters with two row tiles of 64 (CLUSTER_M) work on, of the tiles that the clusters take: each
// its row tile, or of an odd row tile each its column tile.
std::vector<FoundTile> tiles_of_blocks(const std::vector<FoundTile>& tiles, int n) {
  std::vector<FoundTile> found;
  for (FoundTile tile : tiles) {
    FoundTile second = tile;
    if (tile.rows > 64) {
      tile.rows = 64;
      second.row += 64;
      second.rows -= 64;
    } else {
      second.column += 64;
    }
    found.push_back(tile);
    if (second.column < n) found.push_back(second);
  }
  return found;
}

constexpr TileConfig pairs_of_row_tiles(int band) {
  TileConfig tile = tile_of(64, 0);
  tile.cluster_m = 2;
  tile.group_size_m = band;
  return cluster_tile(tile);
}

TEST(Scheduler, FindsEveryRowOfEveryGroupOnceInPairsOfRowTiles) {
  const auto segments = ragged_segments();
  for (const int n : {30, 64, 128, 150, 200}) {  // one to four column tiles
    for (const auto& tiles :
         {found_tiles<pairs_of_row_tiles(1)>(segments, n), found_tiles<pairs_of_row_tiles(2)>(segments, n),
          found_tiles<pairs_of_row_tiles(8)>(segments, n)}) {
      expect_all_rows_once(tiles_of_blocks(tiles, n), segments, n);
    }
  }
}

TEST(Scheduler, NoBlockOfAPairStandsIdleForAnOddRowTile) {
  std::vector<long long> segments(kGroups + 1, 5 * 64LL);  // one group, of five row tiles
  segments[0] = 0;
  EXPECT_EQ(found_tiles<pairs_of_row_tiles(8)>(segments, 256).size(), 10U);  // for 20 tiles of blocks
  EXPECT_EQ(found_tiles<pairs_of_row_tiles(1)>(segments, 256).size(), 10U);
  EXPECT_EQ(found_tiles<pairs_of_row_tiles(8)>(segments, 192).size(), 8U);  // for 15: one has no column
}

// Rows of 40 groups, none of which has 4 times as many as another.
std::vector<long long> similar_segments() {
  std::vector<long long> segments{0};
  for (int g = 0; g < kGroups; ++g) segments.push_back(segments.back() + 150 + 37 * g % 200);
  return segments;
}

TEST(Scheduler, TakesTheHeaviestOf32GroupsFirstWhereTilesAreLarge) {
  const auto segments = similar_segments();
  const auto rows = rows_in_order(found_tiles<tile_of(128, 0)>(segments, 150), segments);
  ASSERT_EQ(rows.size(), static_cast<std::size_t>(kGroups));
  const auto first_hand = rows.begin() + 32;
  EXPECT_TRUE(std::is_sorted(rows.begin(), first_hand, std::greater<>()));
  EXPECT_TRUE(std::is_sorted(first_hand, rows.end(), std::greater<>()));
  EXPECT_EQ(rows.front(), *std::max_element(rows.begin(), first_hand));
}

TEST(Scheduler, TakesTheHeaviestAndTheLightestInTurnsWhereTheyAreFarApart) {
  const auto segments = ragged_segments();
  const auto tiles = found_tiles<tile_of(128, 0)>(segments, 150);
  std::vector<FoundTile> heavy;
  std::vector<FoundTile> light;
  for (std::size_t i = 0; i < tiles.size(); ++i) (i % 2 == 0 ? heavy : light).push_back(tiles[i]);
  const auto descending = rows_in_order(heavy, segments);
  const auto ascending = rows_in_order(light, segments);
  const auto most = *std::max_element(descending.begin(), descending.end());
  EXPECT_EQ(descending.front(), most);
  EXPECT_LT(4 * ascending.front(), most);
  constexpr int kOfTheFirstHand = 10;  // half of its tiles are of fewer groups than half
  EXPECT_TRUE(std::is_sorted(descending.begin(), descending.begin() + kOfTheFirstHand, std::greater<>()));
  EXPECT_TRUE(std::is_sorted(ascending.begin(), ascending.begin() + kOfTheFirstHand));
}

TEST(Scheduler, TakesGroupsAsTheyComeWhereTilesAreSmall) {
  const auto segments = ragged_segments();
  std::vector<long long> wanted;
  for (int g = 0; g < kGroups; ++g) {
    if (segments[g + 1] > segments[g]) wanted.push_back(segments[g + 1] - segments[g]);
  }
  EXPECT_EQ(rows_in_order(found_tiles<tile_of(64, 0)>(segments, 150), segments), wanted);
}

// How often the weights of one group of so many row tiles are passed over, with bands of four.
int passes_over_weights(int row_tiles) {
  constexpr TileConfig kBandsOfFour = [] {
    TileConfig tile = tile_of(64, 0);
    tile.group_size_m = 4;
    return tile;
  }();
  std::vector<long long> segments(kGroups + 1, 64LL * row_tiles);
  segments[0] = 0;
  int passes = 0;
  long long last = 1;
  for (const FoundTile& tile : found_tiles<kBandsOfFour>(segments, 150)) {
    passes += tile.column == 0 && last != 0 ? 1 : 0;
    last = tile.column;
  }
  return passes;
}

TEST(Scheduler, PassesOverTheWeightsOnceForAGroupOfLessThanABandAndAHalf) {
  EXPECT_EQ(passes_over_weights(3), 1);
  EXPECT_EQ(passes_over_weights(4), 1);
  EXPECT_EQ(passes_over_weights(5), 1);
  EXPECT_EQ(passes_over_weights(6), 2);
  EXPECT_EQ(passes_over_weights(9), 3);
}

TEST(Scheduler, EveryTurnTakesTheNextTilesOnce) {
  for (const int blocks : {1, 2, 7, 66, 114, 132}) {
    for (int turn = 0; turn < 2 * blocks; ++turn) {
      std::vector<int> tiles;
      for (int block = 0; block < blocks; ++block) tiles.push_back(tile_of_wave(block, blocks, turn));
      std::sort(tiles.begin(), tiles.end());
      std::vector<int> wanted(static_cast<std::size_t>(blocks));
      std::iota(wanted.begin(), wanted.end(), turn * blocks);
      ASSERT_EQ(tiles, wanted) << blocks << " blocks, turn " << turn;
    }
  }
}

// How many more tiles of a kind that stands at every period-th place of the sequence one block gets than another.
int unevenness(int blocks, int period, int turns) {
  std::vector<int> counts;
  for (int block = 0; block < blocks; ++block) {
    int count = 0;
    for (int turn = 0; turn < turns; ++turn) count += tile_of_wave(block, blocks, turn) % period == 0 ? 1 : 0;
    counts.push_back(count);
  }
  const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
  return *most - *least;
}

TEST(Scheduler, ShortTilesOfAPatternFallOnAllBlocksAlike) {
  constexpr int kTurns = 40;
  for (const int blocks : {66, 78, 114, 120, 132}) {
    for (int period = 2; period <= 8; ++period) {
      EXPECT_LE(unevenness(blocks, period, kTurns), 3) << blocks << " blocks, period " << period;
    }
  }
}

}  // namespace
}  // namespace expertile::testing
