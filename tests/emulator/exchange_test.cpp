// Blocks of a cluster that read each other's shared memory: an exchange that is right, and every mistake that is
// planted in it is stopped.

#include <gtest/gtest.h>

#include <functional>
#include <ptx90.hpp>  // the emulator's
#include <string>

#include "emulator/emulator.hpp"
#include "emulator/tensor_map.hpp"

namespace expertile::testing {
namespace {

constexpr int kThreads = 64;
constexpr int kWarps = kThreads / 32;
constexpr int kTurns = 3;
constexpr unsigned kFilled = 0;  // mbarriers
constexpr unsigned kEmptied = 8;
constexpr unsigned kSums = 16;  // [threads], 16 bytes each
constexpr int kSharedBytes = 16384;
constexpr unsigned kBox = 8192;

// What a kernel may do wrong: false is right.
struct Mistakes {
  bool skips_first_barrier = false;
  bool skips_filled_wait = false;
  bool skips_emptied_wait = false;
  bool skips_last_wait = false;
  bool fills_without_handing_over = false;  // arrives as for a stage of a ring
  bool waits_without_taking_over = false;
  bool empties_without_handing_over = false;
  bool empties_early = false;  // before it has read
  bool reads_of_neighbour = false;
  bool one_warp_fills_for_all = false;
};

void tell_others(unsigned mbarrier, int size, bool hands_over, int times = 1) {
  const int lane = ptx::thread_index() % 32;
  ptx::warp_barrier();
  if (lane >= size || lane == ptx::cluster_rank()) return;
  for (int i = 0; i < times; ++i) {
    if (hands_over) ptx::mbarrier_hand_over(mbarrier, lane);
    if (!hands_over) ptx::mbarrier_arrive_at(mbarrier, lane);
  }
}

int value_of(int rank, int thread, int turn) { return 10000 * turn + 1000 * rank + thread; }

void fill(int size, int turn, const Mistakes& mistakes) {
  const int thread = ptx::thread_index();
  const auto value = static_cast<unsigned>(value_of(ptx::cluster_rank(), thread, turn));
  ptx::store_shared(kSums + static_cast<unsigned>(16 * thread), ptx::Bytes16{{value, value, value, value}});
  if (!mistakes.one_warp_fills_for_all) {
    tell_others(kFilled, size, !mistakes.fills_without_handing_over);
  } else if (thread < 32) {
    tell_others(kFilled, size, true, kWarps);
  }
}

// How many of the other blocks' values are wrong.
int read_others(int size, int turn, const Mistakes& mistakes) {
  int wrong = 0;
  const int thread = mistakes.reads_of_neighbour ? (ptx::thread_index() + 32) % kThreads : ptx::thread_index();
  for (int other = 1; other < size; ++other) {
    const int rank = (ptx::cluster_rank() + other) % size;
    const ptx::Bytes16 bytes = ptx::load_shared_of(rank, kSums + static_cast<unsigned>(16 * thread));
    for (const unsigned word : bytes.word) wrong += word == static_cast<unsigned>(value_of(rank, thread, turn)) ? 0 : 1;
  }
  return wrong;
}

int exchange(int size, const Mistakes& mistakes) {
  int wrong = 0;
  for (int turn = 0; turn < kTurns; ++turn) {
    if (!mistakes.skips_emptied_wait) ptx::mbarrier_wait_for_blocks(kEmptied, (turn + 1) % 2);
    fill(size, turn, mistakes);
    if (mistakes.waits_without_taking_over) {
      ptx::mbarrier_wait(kFilled, turn % 2);
    } else if (!mistakes.skips_filled_wait) {
      ptx::mbarrier_wait_for_blocks(kFilled, turn % 2);
    }
    if (mistakes.empties_early) tell_others(kEmptied, size, true);
    wrong += read_others(size, turn, mistakes);
    if (!mistakes.empties_early) tell_others(kEmptied, size, !mistakes.empties_without_handing_over);
  }
  if (!mistakes.skips_last_wait) ptx::mbarrier_wait_for_blocks(kEmptied, (kTurns + 1) % 2);
  return wrong;
}

std::string run(int size, const std::function<void()>& kernel) {
  const emulator::Launch launch{
      .blocks = 2 * size, .threads = kThreads, .shared_bytes = kSharedBytes, .cluster_size = size, .memory = {}};
  const auto status = emulator::run(launch, kernel);
  return status ? "none" : status.error().message;
}

void begin(int size) {
  if (ptx::thread_index() == 0) {
    for (const unsigned offset : {kFilled, kEmptied}) ptx::mbarrier_init(offset, kWarps * (size - 1));
    ptx::mbarrier_fence_inits();
  }
}

struct Outcome {
  std::string fault;
  int wrong = 0;  // words
};

Outcome run_exchange(int size, const Mistakes& mistakes = {}) {
  Outcome outcome;
  outcome.fault = run(size, [&] {
    begin(size);
    if (mistakes.skips_first_barrier) ptx::barrier();
    if (!mistakes.skips_first_barrier) ptx::cluster_barrier();
    outcome.wrong += exchange(size, mistakes);
  });
  return outcome;
}

TEST(Exchange, IsRightForEverySize) {
  for (const int size : {2, 4, 8}) {
    const Outcome outcome = run_exchange(size);
    EXPECT_EQ(outcome.fault, "none") << size;
    EXPECT_EQ(outcome.wrong, 0) << size;
  }
}

class FaultInAnExchange : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "AddressSanitizer does not follow exceptions on the stacks of fibers";
#endif
  }
  static void expect_in(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
    EXPECT_NE(text.find("exchange_test.cpp:"), std::string::npos) << text;
  }
  static void expect_fault(const Mistakes& mistakes, const std::string& part) {
    for (const int size : {2, 4}) expect_in(run_exchange(size, mistakes).fault, part);
  }
  static bool is(int rank, int thread) { return ptx::cluster_rank() == rank && ptx::thread_index() == thread; }
};

TEST_F(FaultInAnExchange, ReadsSumsWithoutAWait) {
  expect_fault({.skips_filled_wait = true}, "is read, and nothing has filled it");
}
TEST_F(FaultInAnExchange, WritesTheNextSumsWhileAnotherStillReads) {
  expect_fault({.skips_emptied_wait = true}, "is read without a barrier after thread 31 filled it");  // once more
  expect_fault({.empties_early = true}, "is written before thread ");
}
TEST_F(FaultInAnExchange, ArrivesWithoutHandingOverWhatItWrote) {
  expect_fault({.fills_without_handing_over = true}, "is read, and what told of thread 0 handed nothing over");
}
TEST_F(FaultInAnExchange, WaitsWithoutTakingOverWhatOthersWrote) {
  expect_fault({.waits_without_taking_over = true}, "is read, and what told of thread 0 handed nothing over");
}
TEST_F(FaultInAnExchange, ArrivesWithoutHandingOverWhatItRead) {
  expect_fault({.empties_without_handing_over = true}, ", which read it, handed that over");
}
TEST_F(FaultInAnExchange, OneWarpArrivesForAnotherThatItHasNotWaitedFor) {
  const std::string text = run_exchange(2, {.one_warp_fills_for_all = true}).fault;
  expect_in(text, "is read without a barrier after thread 32 filled it");
}
TEST_F(FaultInAnExchange, BlocksThatDoNotWaitForEachOtherToBegin) {
  expect_fault({.skips_first_barrier = true}, "before the first cluster_barrier: it might not have begun");
}
TEST_F(FaultInAnExchange, BlockThatEndsBeforeOthersHaveRead) {
  for (const int size : {2, 4}) {
    const std::string text = run_exchange(size, {.skips_last_wait = true}).fault;
    EXPECT_TRUE(text.find("which has ended") != std::string::npos ||
                text.find("ended without waiting for this ") != std::string::npos)
        << text;
  }
}
TEST_F(FaultInAnExchange, BlockThatHappensToEndLastWithoutWaitingForALoad) {
  const auto kernel = [](bool waits) {
    return [waits] {
      if (ptx::thread_index() == 5) ptx::store_shared(64U, ptx::Bytes16{});
      ptx::cluster_barrier();
      if (is(0, 40)) static_cast<void>(ptx::load_shared_of(1, 64));
      if (waits) ptx::cluster_barrier();
    };
  };
  expect_in(run(2, kernel(false)), "block 1 ended without waiting for this load (shared memory at 64)");
  expect_in(run(2, kernel(false)), "block 0 thread 40, ");
  EXPECT_EQ(run(2, kernel(true)), "none");
}
TEST_F(FaultInAnExchange, NoneWhereABarrierOfTheBlockComesBetweenTheWriterAndItsArrival) {
  EXPECT_EQ(run(2,
                [] {
                  begin(2);
                  ptx::cluster_barrier();
                  if (is(1, 50)) ptx::store_shared(64U, ptx::Bytes16{});
                  ptx::barrier();
                  if (ptx::cluster_rank() == 1 && ptx::thread_index() < kWarps) ptx::mbarrier_hand_over(kFilled, 0);
                  if (is(0, 3)) {
                    ptx::mbarrier_wait_for_blocks(kFilled, 0);
                    static_cast<void>(ptx::load_shared_of(1, 64));
                  }
                  ptx::cluster_barrier();
                }),
            "none");
}
TEST_F(FaultInAnExchange, NoneWhereAThreadReadsWhatAnotherWarpOfABlockHandedOver) {
  EXPECT_EQ(run_exchange(4, {.reads_of_neighbour = true}).fault, "none");
}
TEST_F(FaultInAnExchange, ReadsABulkCopyOfAnotherBlock) {
  alignas(16) static const unsigned short matrix[8][64] = {};
  const TensorMap map = emulator::make_tensor_map(matrix, 8, 64, 128, 2, 8);
  const emulator::Launch launch{.blocks = 2,
                                .threads = kThreads,
                                .shared_bytes = kSharedBytes,
                                .cluster_size = 2,
                                .memory = {{"matrix", matrix, sizeof(matrix), false}}};
  const auto status = emulator::run(launch, [&] {
    begin(2);
    ptx::cluster_barrier();
    if (is(1, 0)) {
      ptx::mbarrier_arrive_expecting(kFilled, 1024);
      ptx::copy_box(kBox, map, 0, 0, kFilled);
      ptx::mbarrier_arrive(kFilled);
      ptx::mbarrier_wait(kFilled, 0);
    }
    ptx::cluster_barrier();
    if (is(0, 9)) static_cast<void>(ptx::load_shared_of(1, kBox));
    ptx::cluster_barrier();
  });
  ASSERT_FALSE(status);
  expect_in(status.error().message, "is read, and what told of its copy handed nothing over");
}
TEST_F(FaultInAnExchange, LoadOfARankOrAPlaceThatIsNotThere) {
  const auto kernel = [](int rank, unsigned offset) {
    return [=] {
      begin(2);
      ptx::cluster_barrier();
      if (is(0, 9)) static_cast<void>(ptx::load_shared_of(rank, offset));
      ptx::cluster_barrier();
    };
  };
  expect_in(run(2, kernel(2, 64)), "rank 2 is outside the cluster, whose size is 2");
  expect_in(run(2, kernel(1, 64)), "in block 1: shared memory 64 is read, and nothing has filled it");
  expect_in(run(2, kernel(1, 68)), "in block 1: shared memory 68 is not aligned to 16 bytes");
  expect_in(run(2, kernel(1, kSharedBytes)), "is outside the block's 16384 bytes");
  expect_in(run(2, kernel(1, kFilled)), "in block 1: shared memory 0 is read, and it is an mbarrier");
}

}  // namespace
}  // namespace expertile::testing
