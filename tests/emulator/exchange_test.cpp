// Blocks of a cluster that store into each other's shared memory: an exchange that is right, and every mistake that is
// planted in it is stopped.

#include <gtest/gtest.h>

#include <functional>
#include <ptx90.hpp>  // the emulator's
#include <string>

#include "emulator/emulator.hpp"

namespace expertile::testing {
namespace {

constexpr int kThreads = 64;
constexpr int kWarps = kThreads / 32;
constexpr int kTurns = 4;
constexpr unsigned kFilled = 0;  // mbarriers
constexpr unsigned kEmptied = 8;
constexpr unsigned kLate = 16;  // of one arrival
constexpr unsigned kSums = 32;  // [other blocks, threads], 16 bytes each
constexpr int kSharedBytes = 16384;
constexpr unsigned kElsewhere = 8192;

// What a kernel may do wrong: false is right.
struct Mistakes {
  bool skips_first_barrier = false;
  bool skips_filled_wait = false;
  bool one_lane_waits_for_all = false;
  bool skips_emptied_wait = false;
  bool skips_last_wait = false;
  bool empties_early = false;  // before it has read
  bool one_lane_tells_for_all = false;
  bool one_warp_tells_for_all = false;
  bool sends_to_the_first_place = false;  // which is one sender's alone
  bool sends_past_the_next = false;       // rank 0, what is the next block's
  bool sends_twice = false;
  bool one_lane_does_not_send = false;
  bool expects_no_bytes_and_no_phase = false;  // does not arrive where it gets nothing
  int expects_more = 0;                        // bytes
  bool fills_by_bytes_alone = false;           // the senders' warps do not arrive
  bool warp_is_late = false;                   // no mistake
};

int arrivals_of_others(int size) { return kWarps * (size - 1); }

void tell_others(unsigned mbarrier, int size, const Mistakes& mistakes) {
  const int lane = ptx::thread_index() % 32;
  if (!mistakes.one_lane_tells_for_all) ptx::warp_barrier();
  if (lane >= size || lane == ptx::cluster_rank()) return;
  if (!mistakes.one_warp_tells_for_all) return ptx::mbarrier_arrive_at(mbarrier, lane);
  for (int i = 0; ptx::thread_index() < 32 && i < kWarps; ++i) ptx::mbarrier_arrive_at(mbarrier, lane);
}

unsigned value_of(int rank, int thread, int turn) { return static_cast<unsigned>(10000 * turn + 1000 * rank + thread); }
// In every other turn, all but one have nothing to get.
bool gets(int rank, int turn) { return turn % 2 == 0 || rank == 0; }
unsigned place_of(int sender, int thread) { return kSums + static_cast<unsigned>(16 * (sender * kThreads + thread)); }

void send(int size, int turn, const Mistakes& mistakes) {
  const int rank = ptx::cluster_rank();
  const int thread = ptx::thread_index();
  if (mistakes.one_lane_does_not_send && thread == 7) return;
  const unsigned value = value_of(rank, thread, turn);
  for (int other = 1; other < size; ++other) {
    int to = (rank + other) % size;
    if (!gets(to, turn)) continue;
    if (mistakes.sends_past_the_next && rank == 0 && other == 1) to = 2;
    const unsigned place = place_of(mistakes.sends_to_the_first_place ? 0 : size - 1 - other, thread);
    ptx::store_shared_to(to, place, {{value, value, value, value}}, kFilled);
    if (mistakes.sends_twice) ptx::store_shared_to(to, place, {{value, value, value, value}}, kFilled);
  }
}

// How many of the other blocks' values are wrong.
int read_others(int size, int turn) {
  int wrong = 0;
  for (int sender = 0; gets(ptx::cluster_rank(), turn) && sender < size - 1; ++sender) {
    const int rank = (ptx::cluster_rank() + sender + 1) % size;
    const auto bytes = ptx::load_shared<ptx::Bytes16>(place_of(sender, ptx::thread_index()));
    for (const unsigned word : bytes.word) wrong += word == value_of(rank, ptx::thread_index(), turn) ? 0 : 1;
  }
  return wrong;
}

void expect(int size, int turn, const Mistakes& mistakes) {
  const bool some = gets(ptx::cluster_rank(), turn);
  if (ptx::thread_index() != 0 || (!some && mistakes.expects_no_bytes_and_no_phase)) return;
  const int bytes = some ? 16 * kThreads * (size - 1) + mistakes.expects_more : 0;
  ptx::mbarrier_arrive_expecting(kFilled, bytes);
}

// A warp of block 0 goes on when all others have gone as far as they can.
void be_late(int turn) {
  if (ptx::cluster_rank() != 0 || ptx::thread_index() < 32) return;
  if (ptx::thread_index() == 32) {
    ptx::mbarrier_arrive_expecting(kLate, 16);
    ptx::store_shared_to(0, kElsewhere, {}, kLate);
  }
  ptx::mbarrier_wait(kLate, turn % 2);
}

void wait_until_filled(int turn, const Mistakes& mistakes) {
  if (mistakes.skips_filled_wait) return;
  if (!mistakes.one_lane_waits_for_all || ptx::thread_index() % 32 == 0) ptx::mbarrier_wait(kFilled, turn % 2);
  if (mistakes.one_lane_waits_for_all) static_cast<void>(ptx::shuffle(1, 0));
}

int exchange(int size, const Mistakes& mistakes) {
  Mistakes none;
  int wrong = 0;
  for (int turn = 0; turn < kTurns; ++turn) {
    if (mistakes.warp_is_late) be_late(turn);
    expect(size, turn, mistakes);
    if (!mistakes.skips_emptied_wait) ptx::mbarrier_wait(kEmptied, (turn + 1) % 2);
    send(size, turn, mistakes);
    if (!mistakes.fills_by_bytes_alone) tell_others(kFilled, size, none);
    wait_until_filled(turn, mistakes);
    if (mistakes.empties_early) tell_others(kEmptied, size, mistakes);
    wrong += read_others(size, turn);
    if (!mistakes.empties_early) tell_others(kEmptied, size, mistakes);
  }
  if (!mistakes.skips_last_wait) ptx::mbarrier_wait(kEmptied, (kTurns + 1) % 2);
  return wrong;
}

std::string run(int size, const std::function<void()>& kernel) {
  const emulator::Launch launch{
      .blocks = 2 * size, .threads = kThreads, .shared_bytes = kSharedBytes, .cluster_size = size, .memory = {}};
  const auto status = emulator::run(launch, kernel);
  return status ? "none" : status.error().message;
}

void begin(int filled, int emptied, bool fences = true) {
  if (ptx::thread_index() > 0) return;
  ptx::mbarrier_init(kFilled, filled);
  ptx::mbarrier_init(kEmptied, emptied);
  ptx::mbarrier_init(kLate, 1);
  if (fences) ptx::mbarrier_fence_inits();
}

struct Outcome {
  std::string fault;
  int wrong = 0;  // words
};

Outcome run_exchange(int size, const Mistakes& mistakes = {}) {
  Outcome outcome;
  outcome.fault = run(size, [&] {
    begin(1 + (mistakes.fills_by_bytes_alone ? 0 : arrivals_of_others(size)), arrivals_of_others(size));
    if (mistakes.skips_first_barrier) ptx::barrier();
    if (!mistakes.skips_first_barrier) ptx::cluster_barrier();
    outcome.wrong += exchange(size, mistakes);
  });
  return outcome;
}

TEST(Exchange, IsRightForEverySize) {
  for (const int size : {2, 4, 8}) {
    for (const bool late : {false, true}) {
      const Outcome outcome = run_exchange(size, {.warp_is_late = late});
      EXPECT_EQ(outcome.fault, "none") << size;
      EXPECT_EQ(outcome.wrong, 0) << size;
    }
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

// ---- mistakes in the exchange ---------------------------------------------------------------------------------------

TEST_F(FaultInAnExchange, BlocksThatDoNotWaitForEachOtherToBegin) {
  expect_fault({.skips_first_barrier = true}, "before the first cluster_barrier: it might not have begun");
}
TEST_F(FaultInAnExchange, ReadsSumsWithoutAWait) {
  expect_fault({.skips_filled_wait = true}, "is read, and nothing has filled it");
}
TEST_F(FaultInAnExchange, ReadsSumsForWhichAnotherLaneWaited) {
  expect_fault({.one_lane_waits_for_all = true},
               "is read without a wait for phase 0 of the mbarrier at 0, which its copy ends");
}
TEST_F(FaultInAnExchange, SendsTheNextSumsWithoutKnowingThatTheLastWereRead) {
  expect_fault({.skips_emptied_wait = true}, " is written while a copy for the mbarrier at 0 is under way");
}
TEST_F(FaultInAnExchange, SaysThatItHasReadBeforeItHas) {
  expect_fault({.empties_early = true}, " is written without a barrier after thread ");
}
TEST_F(FaultInAnExchange, LaneSaysThatItsWarpHasReadBeforeItHas) {
  expect_fault({.one_lane_tells_for_all = true}, " is written without a barrier after thread ");
}
TEST_F(FaultInAnExchange, WarpSaysThatAnotherHasReadBeforeItHas) {
  expect_fault({.one_warp_tells_for_all = true}, " is written without a barrier after thread ");
}
TEST_F(FaultInAnExchange, SendsToThePlaceOfAnotherSender) {
  expect_in(run_exchange(4, {.sends_to_the_first_place = true}).fault,
            " is written while a copy for the mbarrier at 0 is under way");
}
TEST_F(FaultInAnExchange, SendsToAnotherBlockThanItMeant) {
  expect_in(run_exchange(4, {.sends_past_the_next = true}).fault,
            " is written while a copy for the mbarrier at 0 is under way");
}
TEST_F(FaultInAnExchange, SendsTwice) {
  expect_fault({.sends_twice = true}, " is written while a copy for the mbarrier at 0 is under way");
}
TEST_F(FaultInAnExchange, LaneThatDoesNotSend) {
  expect_fault({.one_lane_does_not_send = true}, "deadlock: thread 0 waits in mbarrier_wait at exchange_test.cpp:");
  expect_in(run_exchange(2, {.one_lane_does_not_send = true}).fault, "misses 0 of 3 arrivals and 16 bytes");
}
TEST_F(FaultInAnExchange, ExpectsTooFewBytes) {
  expect_fault({.expects_more = -16}, "its copies are under way: it expected too few bytes");
}
TEST_F(FaultInAnExchange, ExpectsTooManyBytes) { expect_fault({.expects_more = 16}, "in phase 0 and misses 0 of "); }
TEST_F(FaultInAnExchange, DoesNotEndAPhaseThatBringsNoBytes) {
  expect_fault({.expects_no_bytes_and_no_phase = true}, "the mbarrier at 0 is in phase 1 and misses 1 of ");
}
TEST_F(FaultInAnExchange, WarpThatOthersLeaveTwoPhasesBehind) {
  const auto outcome = [](bool late) { return run_exchange(2, {.fills_by_bytes_alone = true, .warp_is_late = late}); };
  EXPECT_EQ(outcome(false).fault, "none");  // as it happens
  expect_in(outcome(true).fault, "for parity 0, and the mbarrier at 8 is in phase 2");
}
TEST_F(FaultInAnExchange, BlockThatEndsBeforeOthersHaveArrived) {
  for (const int size : {2, 4}) {
    const std::string text = run_exchange(size, {.skips_last_wait = true}).fault;
    EXPECT_TRUE(text.find("which has ended") != std::string::npos ||
                text.find("ended without waiting for this arrival") != std::string::npos)
        << text;
  }
}

// ---- single stores --------------------------------------------------------------------------------------------------

// Thread 9 of block 0 stores to the other block, whose thread 0 expects the bytes.
std::string fault_of_store(int rank, unsigned offset, unsigned mbarrier, bool fences = true) {
  return run(2, [=] {
    begin(1, 1, fences);
    ptx::cluster_barrier();
    if (ptx::cluster_rank() == 0 && ptx::thread_index() == 9) ptx::store_shared_to(rank, offset, {}, mbarrier);
    if (ptx::cluster_rank() == 1 && ptx::thread_index() == 0) {
      ptx::mbarrier_arrive_expecting(kFilled, 16);
      ptx::mbarrier_wait(kFilled, 0);
    }
    ptx::cluster_barrier();
  });
}

TEST_F(FaultInAnExchange, StoreToARankOrAPlaceThatIsNotThere) {
  EXPECT_EQ(fault_of_store(1, 64, kFilled), "none");
  EXPECT_EQ(fault_of_store(1, 64, kFilled, false).find("block 0 thread 9, exchange_test.cpp:"), 0U);
  expect_in(fault_of_store(1, 64, kFilled, false), "a copy for the mbarrier at 0 begins without mbarrier_fence_inits");
  expect_in(fault_of_store(2, 64, kFilled), "rank 2 is outside the cluster, whose size is 2");
  expect_in(fault_of_store(-1, 64, kFilled), "rank -1 is outside the cluster, whose size is 2");
  expect_in(fault_of_store(1, 72, kFilled), "in block 1: shared memory 72 is not aligned to 16 bytes");
  expect_in(fault_of_store(1, kSharedBytes, kFilled),
            "in block 1: shared memory [16384, 16400) is outside the block's");
  expect_in(fault_of_store(1, kFilled, kFilled), "in block 1: shared memory 0 is written, and it is an mbarrier");
  expect_in(fault_of_store(1, 64, 128), "in block 1: the mbarrier at 128 is used, and nothing has initialised it");
  expect_in(fault_of_store(1, 64, 4), "in block 1: the mbarrier at 4 is not aligned to 8 bytes");
}
TEST_F(FaultInAnExchange, StoreToABlockThatEnds) {
  const auto kernel = [](bool expects, bool waits) {
    return run(2, [=] {
      begin(1, 1);
      ptx::cluster_barrier();
      if (is(0, 9)) ptx::store_shared_to(1, 64, {}, kFilled);
      if (is(1, 0) && expects) ptx::mbarrier_arrive_expecting(kFilled, 16);
      if (is(1, 0) && waits) ptx::mbarrier_wait(kFilled, 0);
    });
  };
  EXPECT_EQ(kernel(true, true), "none");
  expect_in(kernel(true, false), "block 1 ended while this store was under way to it");
}
TEST_F(FaultInAnExchange, BlockThatHappensToEndLastWithoutWaitingForAStore) {
  const std::string text = run(2, [] {
    begin(1, 1);
    ptx::cluster_barrier();
    if (is(0, 9)) ptx::store_shared_to(1, 64, {}, kFilled);
    if (!is(1, 0)) return;
    ptx::mbarrier_arrive_expecting(kFilled, 16);
    ptx::mbarrier_arrive_expecting(kLate, 16);
    ptx::store_shared_to(1, kElsewhere, {}, kLate);  // which lands later
    ptx::mbarrier_wait(kLate, 0);
  });
  expect_in(text, "block 1 ended without waiting for this store (mbarrier at 0)");
  EXPECT_EQ(text.find("block 0 thread 9, "), 0U) << text;
}
TEST_F(FaultInAnExchange, StoreThatNothingTellsThatTheOtherBlockIsInANewPhase) {
  // Elsewhere in its memory, so that no bytes are overwritten; but they may count for the phase before.
  expect_in(run(2,
                [] {
                  begin(1, 1);
                  ptx::cluster_barrier();
                  if (is(1, 0)) ptx::mbarrier_arrive(kFilled);
                  ptx::barrier();
                  if (is(0, 32)) be_late(0);
                  if (is(0, 32)) ptx::store_shared_to(1, 64, {}, kFilled);
                  ptx::cluster_barrier();
                }),
            "in block 1: a copy for phase 1 of the mbarrier at 0 begins, and nothing tells its thread that phase 0 has "
            "ended");
}
TEST_F(FaultInAnExchange, TouchesBytesThatAreOnTheirWay) {
  const auto kernel = [](bool reads) {
    return run(2, [reads] {
      begin(1, 1);
      ptx::cluster_barrier();
      if (is(0, 9)) ptx::store_shared_to(1, 64, {}, kFilled);
      if (is(1, 3) && reads) static_cast<void>(ptx::load_shared<int>(68));
      if (is(1, 3) && !reads) ptx::store_shared(72, 1);
      ptx::cluster_barrier();
    });
  };
  expect_in(kernel(true), "block 1 thread 3, ");
  expect_in(kernel(true), "shared memory 68 is read while a copy for the mbarrier at 0 is under way");
  expect_in(kernel(false), "shared memory 72 is written while a copy for the mbarrier at 0 is under way");
}

}  // namespace
}  // namespace expertile::testing
