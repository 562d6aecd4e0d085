// Which tiles the clusters take where a counter says which is next: each once, all blocks of a cluster the same, and
// the counter is 0 again at the end. And mistakes in how a cluster's first block tells the others are stopped.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <ptx90.hpp>  // the emulator's
#include <string>
#include <vector>

#include "emulator/emulator.hpp"
#include "sm90/tile_queue.hpp"

namespace expertile::testing {
namespace {

constexpr KernelSpec spec_of_pairs(int blocks) {
  KernelSpec spec;
  spec.tile.kernel = KernelFamily::sm90;
  spec.tile.block_size_m = 128;
  spec.tile.block_size_n = 64;
  spec.tile.block_size_k = 64;
  spec.tile.group_size_m = 2;
  spec.tile.num_warps = 4;
  spec.tile.num_stages = 2;
  spec.tile.cluster_size = blocks;
  return spec;
}

struct Taken {
  std::vector<std::vector<int>> numbers;  // [blocks], in the order in which each took them
  std::string fault;
};

// Blocks that look for tiles and do nothing with them, with 128 rows a tile, 64 * cluster_size columns, and `tiles` of
// them.
template <KernelSpec SPEC>
Taken take_all(int clusters, int tiles, int* counter) {
  constexpr int kBlocks = cluster_blocks(SPEC.tile);
  const long long segments[] = {0, 64 + 128LL * (tiles / 2), 64 + 128LL * (tiles - 1)};  // the first ends with 64 rows
  const long long experts[] = {0, 1};
  TiledArgs in{};
  in.args.seg_indptr = segments;
  in.args.weight_indices = experts;
  in.args.groups = tiles > 1 ? 2 : 0;
  in.args.experts = 2;
  in.args.rows = static_cast<int>(segments[2]);
  in.args.n = 64 * kBlocks;
  in.tile_counter = counter;
  Taken taken;
  taken.numbers.resize(static_cast<std::size_t>(clusters) * kBlocks);
  const emulator::Launch launch{.blocks = clusters * kBlocks,
                                .threads = 32,
                                .shared_bytes = smem_bytes(SPEC),
                                .cluster_size = kBlocks,
                                .memory = {{"seg_indptr", segments, sizeof(segments), false},
                                           {"weight_indices", experts, sizeof(experts), false},
                                           {"taken", counter, sizeof(int), false, true}}};
  const auto status = emulator::run(launch, [&] {
    if (ptx::thread_index() == 0) {
      sm90::init_tile_queue<SPEC>();
      ptx::mbarrier_fence_inits();
    }
    ptx::cluster_barrier();
    const ptx::Elected elected = ptx::elect();
    GroupCursor groups;
    int answer = 0;
    for (int turn = 0;; ++turn) {
      const int number = sm90::tile_number<SPEC>(in, elected, turn, answer);
      if (sm90::tile_of_block<SPEC>(in.args, groups, number).rows < 0) {
        sm90::reset_counter<SPEC>(in, elected, groups, number, turn);
        break;
      }
      if (ptx::thread_index() == 0) taken.numbers[static_cast<std::size_t>(ptx::block_index())].push_back(number);
      if (elected.is_this) answer = sm90::claim_tile<SPEC>(in);
    }
    ptx::cluster_barrier();
  });
  if (!status) taken.fault = status.error().message;
  return taken;
}

template <int BLOCKS>
void expect_each_once(int clusters, int tiles) {
  int counter = 0;
  for (int launch = 0; launch < 2; ++launch) {
    const Taken taken = take_all<spec_of_pairs(BLOCKS)>(clusters, tiles, &counter);
    ASSERT_EQ(taken.fault, "");
    std::vector<int> all;
    for (std::size_t block = 0; block < taken.numbers.size(); ++block) {
      EXPECT_EQ(taken.numbers[block], taken.numbers[block / BLOCKS * BLOCKS]) << "block " << block;
      if (block % BLOCKS == 0) all.insert(all.end(), taken.numbers[block].begin(), taken.numbers[block].end());
    }
    std::sort(all.begin(), all.end());
    std::vector<int> wanted;
    for (int number = 0; number < tiles; ++number) wanted.push_back(number);
    EXPECT_EQ(all, wanted) << clusters << " clusters of " << BLOCKS;
    EXPECT_EQ(counter, 0) << clusters << " clusters of " << BLOCKS << ", " << tiles << " tiles";
  }
}

TEST(Numbers, EveryTileIsTakenOnceAndTheCounterIsBackAtNothing) {
  for (const int tiles : {2, 3, 4, 5, 17, 40}) {
    for (const int clusters : {1, 3, 4, 8}) {
      expect_each_once<1>(clusters, tiles);
      expect_each_once<2>(clusters, tiles);
    }
  }
}

TEST(Numbers, WithoutTilesTheCounterIsBackAtNothing) {
  expect_each_once<1>(3, 0);
  expect_each_once<2>(3, 0);
}

TEST(Numbers, ACounterThatWasNotBackCostsTilesAndIsBackAfterwards) {
  int counter = 2;
  const Taken taken = take_all<spec_of_pairs(1)>(2, 9, &counter);
  EXPECT_EQ(taken.fault, "");
  std::size_t found = 0;
  for (const auto& numbers : taken.numbers) found += numbers.size();
  EXPECT_EQ(found, 9U - 2U);
  EXPECT_EQ(counter, 0);
}

// What a block that tells the others a number may do wrong, and one that is told.
struct Mistakes {
  bool skips_received_wait = false;
  bool skips_sent_wait = false;
  bool expects_nothing = false;
  bool does_not_say_received = false;
};

std::string tell_numbers(const Mistakes& mistakes) {
  constexpr unsigned kNumber = 0;
  constexpr unsigned kSent = 16;
  constexpr unsigned kReceived = 24;
  const emulator::Launch launch{.blocks = 2, .threads = 32, .shared_bytes = 64, .cluster_size = 2, .memory = {}};
  const auto status = emulator::run(launch, [&] {
    if (ptx::thread_index() == 0) {
      ptx::mbarrier_init(kSent, 1);
      ptx::mbarrier_init(kReceived, 1);
      ptx::mbarrier_fence_inits();
    }
    ptx::cluster_barrier();
    for (int turn = 0; turn < 4 && ptx::thread_index() == 0; ++turn) {
      if (ptx::cluster_rank() == 0) {
        if (!mistakes.skips_received_wait) ptx::mbarrier_wait(kReceived, turn % 2 ^ 1);
        ptx::store_shared_to(1, kNumber, {{7}}, kSent);
      } else {
        ptx::mbarrier_arrive_expecting(kSent, mistakes.expects_nothing ? 0 : 16);
        if (!mistakes.skips_sent_wait) ptx::mbarrier_wait(kSent, turn % 2);
        static_cast<void>(ptx::load_shared<int>(kNumber));
        if (!mistakes.does_not_say_received) ptx::mbarrier_arrive_at(kReceived, 0);
      }
    }
    ptx::cluster_barrier();
  });
  return status ? "" : status.error().message;
}

TEST(Numbers, MistakesInTellingThemAreStopped) {
  EXPECT_EQ(tell_numbers({}), "");
  EXPECT_NE(tell_numbers({.skips_received_wait = true}), "");
  EXPECT_NE(tell_numbers({.skips_sent_wait = true}), "");
  EXPECT_NE(tell_numbers({.expects_nothing = true}), "");
  EXPECT_NE(tell_numbers({.does_not_say_received = true}), "");
}

}  // namespace
}  // namespace expertile::testing
