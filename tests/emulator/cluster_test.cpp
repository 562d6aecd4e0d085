// Blocks of a cluster that fill each other's shared memory: they are right, and every mistake that is planted in the
// ring is stopped.

#include <gtest/gtest.h>

#include <functional>
#include <ptx90.hpp>  // the emulator's
#include <string>

#include "emulator/emulator.hpp"
#include "emulator/tensor_map.hpp"

namespace expertile::testing {
namespace {

constexpr int kRows = 64;
constexpr int kRowWords = 32;  // of a box
constexpr int kStages = 2;
constexpr int kSlices = 5;  // of 128 bytes
constexpr int kWholeBytes = kRows * 128;

struct Matrix {
  Matrix() {
    for (unsigned row = 0; row < kRows; ++row) {
      for (unsigned word = 0; word < kSlices * kRowWords; ++word) words[row][word] = row << 16U | word;
    }
  }
  alignas(16) unsigned words[kRows][kSlices * kRowWords];
};

// How many words of [64 rows, 128 bytes] at `offset` are not those of a slice of the matrix. Each lane of a warp reads
// one word of each row.
int wrong_words(unsigned offset, int slice) {
  int wrong = 0;
  const auto word = static_cast<unsigned>(ptx::thread_index() % 32);
  for (unsigned row = 0; row < kRows; ++row) {
    const unsigned place = (word / 4 ^ row % 8) * 16 + word % 4 * 4;
    const unsigned expected = row << 16U | (static_cast<unsigned>(slice * kRowWords) + word);
    wrong += ptx::load_shared<unsigned>(offset + 128 * row + place) == expected ? 0 : 1;
  }
  return wrong;
}

// Clusters whose blocks share the work of filling all of them: block r copies box r of each slice.
std::string run(int blocks, int cluster_size, const std::function<void(const TensorMap&, int box_rows)>& kernel) {
  const Matrix matrix;
  const int box_rows = kRows / cluster_size;
  const TensorMap map = emulator::make_tensor_map(matrix.words, kRows, kSlices * kRowWords, sizeof(matrix.words[0]),
                                                  sizeof(unsigned), box_rows);
  const emulator::Launch launch{.blocks = blocks,
                                .threads = 64,
                                .shared_bytes = kStages * kWholeBytes + 1024,
                                .cluster_size = cluster_size,
                                .memory = {{"matrix", &matrix, sizeof(matrix), false}}};
  const auto status = emulator::run(launch, [&] { kernel(map, box_rows); });
  return status ? "none" : status.error().message;
}

constexpr unsigned short everybody(int cluster_size) { return static_cast<unsigned short>((1U << cluster_size) - 1); }

TEST(Cluster, EveryBlockCopiesItsPartToAllAndReadsTheWhole) {
  constexpr unsigned kFull = kStages * kWholeBytes;
  for (const int size : {1, 2, 4, 8}) {
    int right = 0;
    int ranks = 0;
    const std::string fault = run(2 * size, size, [&](const TensorMap& map, int box_rows) {
      const int rank = ptx::cluster_rank();
      ranks += rank == ptx::block_index() % size ? 1 : 0;
      if (ptx::thread_index() == 0) {
        ptx::mbarrier_init(kFull, 1);
        ptx::mbarrier_fence_inits();
      }
      ptx::cluster_barrier();
      if (ptx::thread_index() == 0) {
        ptx::mbarrier_arrive_expecting(kFull, kWholeBytes);
        ptx::copy_box_to(static_cast<unsigned>(rank * box_rows * 128), map, 3 * kRowWords, rank * box_rows, kFull,
                         everybody(size));
      }
      ptx::mbarrier_wait(kFull, 0);
      right += wrong_words(0, 3) == 0 ? 1 : 0;
    });
    EXPECT_EQ(fault, "none") << size;
    EXPECT_EQ(right, 2 * size * 64) << size;
    EXPECT_EQ(ranks, 2 * size * 64) << size;
  }
}

TEST(Cluster, BytesMayComeBeforeTheArrivalThatExpectsThem) {
  constexpr unsigned kFull = kStages * kWholeBytes;
  constexpr unsigned kOwn = kFull + 8;
  int right = 0;
  const std::string fault = run(2, 2, [&](const TensorMap& map, int) {
    const int rank = ptx::cluster_rank();
    if (ptx::thread_index() == 0) {
      ptx::mbarrier_init(kFull, 1);
      ptx::mbarrier_init(kOwn, 1);
      ptx::mbarrier_fence_inits();
    }
    ptx::cluster_barrier();
    if (ptx::thread_index() == 0) {
      if (rank == 0) ptx::copy_box_to(0, map, 0, 0, kFull, 3);
      ptx::mbarrier_arrive_expecting(kOwn, kWholeBytes / 2);  // lands after the copy of block 0
      ptx::copy_box(kWholeBytes, map, 0, 0, kOwn);
      ptx::mbarrier_wait(kOwn, 0);
      if (rank == 1) ptx::copy_box_to(kWholeBytes / 2, map, 0, kRows / 2, kFull, 3);
      ptx::mbarrier_arrive_expecting(kFull, kWholeBytes);
    }
    ptx::mbarrier_wait(kFull, 0);
    right += wrong_words(0, 0) == 0 ? 1 : 0;
  });
  EXPECT_EQ(fault, "none");
  EXPECT_EQ(right, 128);
}

TEST(Cluster, ItsBarrierTellsABlockWhatTheOtherDidToItsOwnMemory) {
  EXPECT_EQ(run(2, 2,
                [&](const TensorMap&, int) {
                  if (ptx::thread_index() == 5) ptx::store_shared(64U, 1);
                  ptx::cluster_barrier();
                  if (ptx::thread_index() == 60) static_cast<void>(ptx::load_shared<int>(64U));
                }),
            "none");
}

// ---- a ring that both blocks fill -------------------------------------------------------------------------------

constexpr unsigned kFull = kStages * kWholeBytes;  // [stages]
constexpr unsigned kEmpty = kFull + 8 * kStages;   // [stages], which count the consumers of all blocks
constexpr int kConsumers = 32;
constexpr int kProducer = 32;  // thread

// What a kernel may do wrong: false and 0 are right.
struct Mistakes {
  bool skips_first_barrier = false;
  bool skips_last_barrier = false;
  bool skips_empty_wait = false;
  bool releases_own_alone = false;    // and the barriers expect no more
  bool releases_other_early = false;  // before the stage is read
  bool copies_to_own_alone = false;
  bool releases_other_twice = false;
  int expected_bytes = 0;  // added
};

void produce(const TensorMap& map, int size, int box_rows, const Mistakes& mistakes) {
  const int rank = ptx::cluster_rank();
  const auto ranks = mistakes.copies_to_own_alone ? static_cast<unsigned short>(1U << rank) : everybody(size);
  for (int slice = 0; slice < kSlices; ++slice) {
    const auto stage = static_cast<unsigned>(slice % kStages);
    if (!mistakes.skips_empty_wait) ptx::mbarrier_wait(kEmpty + 8 * stage, 1 - slice / kStages % 2);
    ptx::mbarrier_arrive_expecting(kFull + 8 * stage, kWholeBytes + mistakes.expected_bytes);
    ptx::copy_box_to(stage * kWholeBytes + static_cast<unsigned>(rank * box_rows * 128), map, slice * kRowWords,
                     rank * box_rows, kFull + 8 * stage, ranks);
  }
}

void release(unsigned empty, int size, const Mistakes& mistakes) {
  const int mine = ptx::cluster_rank();
  for (int rank = 0; rank < size; ++rank) {
    if (rank != mine && (mistakes.releases_own_alone || mistakes.releases_other_early)) continue;
    ptx::mbarrier_arrive_at(empty, rank);
    if (mistakes.releases_other_twice && ptx::thread_index() == 0) ptx::mbarrier_arrive_at(empty, 1 - mine);
  }
}

int consume(int size, const Mistakes& mistakes) {
  int wrong = 0;
  for (int slice = 0; slice < kSlices; ++slice) {
    const auto stage = static_cast<unsigned>(slice % kStages);
    ptx::mbarrier_wait(kFull + 8 * stage, slice / kStages % 2);
    if (mistakes.releases_other_early) ptx::mbarrier_arrive_at(kEmpty + 8 * stage, 1 - ptx::cluster_rank());
    wrong += wrong_words(stage * kWholeBytes, slice);
    release(kEmpty + 8 * stage, size, mistakes);
  }
  return wrong;
}

struct Outcome {
  std::string fault;
  int wrong = 0;  // words
};

Outcome run_ring(int blocks, int size, const Mistakes& mistakes = {}) {
  Outcome outcome;
  outcome.fault = run(blocks, size, [&](const TensorMap& map, int box_rows) {
    if (ptx::thread_index() == kProducer) {
      for (unsigned stage = 0; stage < kStages; ++stage) {
        ptx::mbarrier_init(kFull + 8 * stage, 1);
        ptx::mbarrier_init(kEmpty + 8 * stage, kConsumers * (mistakes.releases_own_alone ? 1 : size));
      }
      ptx::mbarrier_fence_inits();
    }
    if (mistakes.skips_first_barrier) ptx::barrier();
    if (!mistakes.skips_first_barrier) ptx::cluster_barrier();
    if (ptx::thread_index() == kProducer) produce(map, size, box_rows, mistakes);
    if (ptx::thread_index() < kConsumers) outcome.wrong += consume(size, mistakes);
    if (!mistakes.skips_last_barrier) ptx::cluster_barrier();
  });
  return outcome;
}

TEST(ClusterRing, IsRightForEverySize) {
  for (const int size : {1, 2, 4, 8}) {
    const Outcome outcome = run_ring(2 * size, size);
    EXPECT_EQ(outcome.fault, "none") << size;
    EXPECT_EQ(outcome.wrong, 0) << size;
  }
}

class FaultInAClusterRing : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "AddressSanitizer does not follow exceptions on the stacks of fibers";
#endif
  }
  static void expect_fault(const Mistakes& mistakes, const std::string& part) {
    const std::string text = run_ring(2, 2, mistakes).fault;
    EXPECT_NE(text.find(part), std::string::npos) << text;
    EXPECT_NE(text.find("cluster_test.cpp:"), std::string::npos) << text;
  }
};

TEST_F(FaultInAClusterRing, BlocksThatDoNotWaitForEachOtherToBegin) {
  expect_fault({.skips_first_barrier = true}, "before the first cluster_barrier: it might not have begun");
}
TEST_F(FaultInAClusterRing, BlocksThatDoNotWaitForEachOtherToEnd) {
  expect_fault({.skips_last_barrier = true}, "reaches into block 0, which has ended");
}
TEST_F(FaultInAClusterRing, ReleasesAStageToItsOwnBlockAlone) {
  expect_fault({.releases_own_alone = true}, "in block 1: shared memory ");
}
TEST_F(FaultInAClusterRing, ReleasesAStageToTheOtherBlockBeforeItIsRead) {
  expect_fault({.releases_other_early = true}, "is written without a barrier after ");
}
TEST_F(FaultInAClusterRing, ReleasesAStageToTheOtherBlockTwice) {
  expect_fault({.releases_other_twice = true}, "is written without a barrier after ");
}
TEST_F(FaultInAClusterRing, RefillsAStageThatNobodyReleased) {
  expect_fault({.skips_empty_wait = true}, "has more than its 1 arrivals in phase 0");
}
TEST_F(FaultInAClusterRing, CopiesToItsOwnBlockAlone) {
  expect_fault({.copies_to_own_alone = true}, "misses 0 of 1 arrivals and 4096 bytes");
}
TEST_F(FaultInAClusterRing, ExpectsOnlyTheBytesOfItsOwnPart) {
  expect_fault({.expected_bytes = -kWholeBytes / 2}, "ends while 1 of its copies are under way");
}
TEST_F(FaultInAClusterRing, ExpectsTooManyBytes) { expect_fault({.expected_bytes = 128}, "and 128 bytes"); }

}  // namespace
}  // namespace expertile::testing
