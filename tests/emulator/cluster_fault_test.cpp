// What the emulator demands of blocks that reach into each other, one planted fault each.

#include <gtest/gtest.h>

#include <functional>
#include <ptx90.hpp>  // the emulator's
#include <string>

#include "emulator/emulator.hpp"
#include "emulator/tensor_map.hpp"
#include "kernel_shape.hpp"

namespace expertile::testing {
namespace {

constexpr unsigned kBox = 1024;  // offset of a box of 32 rows
constexpr int kBoxBytes = 4096;
constexpr unsigned short kBoth = 3;
constexpr unsigned short kOther = 2;  // from block 0

class ClusterFault : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "AddressSanitizer does not follow exceptions on the stacks of fibers";
#endif
  }
  // The emulator's words on a kernel of two blocks of 64 threads, with 16 KiB of shared memory and boxes of [32, 64]
  // float16.
  std::string fault(const std::function<void(const TensorMap&)>& kernel, int blocks = 2, int cluster_size = 2) {
    const TensorMap map = emulator::make_tensor_map(matrix_, 64, 64, 128, 2, 32);
    const emulator::Launch launch{.blocks = blocks,
                                  .threads = 64,
                                  .shared_bytes = 16384,
                                  .cluster_size = cluster_size,
                                  .memory = {{"matrix", matrix_, sizeof(matrix_), false}}};
    const auto status = emulator::run(launch, [&] { kernel(map); });
    return status ? "none" : status.error().message;
  }
  static bool is(int rank, int thread) { return ptx::cluster_rank() == rank && ptx::thread_index() == thread; }
  // Barriers of one arrival at 0, 8 and 16, which every block then has.
  static void begin() {
    if (ptx::thread_index() == 0) {
      for (const unsigned offset : {0U, 8U, 16U}) ptx::mbarrier_init(offset, 1);
      ptx::mbarrier_fence_inits();
    }
    ptx::cluster_barrier();
  }
  // Block 0 fills the box of both, and all wait.
  static void fill_both(const TensorMap& map, int parity = 0) {
    if (ptx::thread_index() == 0) ptx::mbarrier_arrive_expecting(0, kBoxBytes);
    if (is(0, 0)) ptx::copy_box_to(kBox, map, 0, 0, 0, kBoth);
    ptx::mbarrier_wait(0, parity);
  }
  // The calling thread waits in a copy of its own until all others, and the copies before, have gone as far as they
  // can.
  static void wait_long(const TensorMap& map) {
    ptx::mbarrier_arrive_expecting(16, kBoxBytes);
    ptx::copy_box(8 * kBox, map, 0, 0, 16);
    ptx::mbarrier_wait(16, 0);
  }
  static void expect_in(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
    EXPECT_NE(text.find("cluster_fault_test.cpp:"), std::string::npos) << text;
  }

  alignas(16) unsigned short matrix_[64][64] = {};
};

// ---- launches ---------------------------------------------------------------------------------------------------

TEST_F(ClusterFault, GridThatIsNoMultipleOfTheClusterOrClusterThatIsTooLarge) {
  EXPECT_EQ(fault([](const TensorMap&) {}, 3, 2), "3 blocks: a multiple of the cluster's 2 is right");
  EXPECT_EQ(fault([](const TensorMap&) {}, 9, 9), "a cluster of 9 blocks: 1 to 8 are right");
}

// ---- which blocks -----------------------------------------------------------------------------------------------

TEST_F(ClusterFault, ArrivalAtARankOutsideTheCluster) {
  const auto kernel = [](int rank) {
    return [rank](const TensorMap&) {
      begin();
      if (is(1, 7)) ptx::mbarrier_arrive_at(0, rank);
      ptx::cluster_barrier();
    };
  };
  expect_in(fault(kernel(2)), "rank 2 is outside the cluster, whose size is 2");
  expect_in(fault(kernel(-1)), "block 1 thread 7, cluster_fault_test.cpp:");
}
TEST_F(ClusterFault, CopyToARankOutsideTheCluster) {
  expect_in(fault([](const TensorMap& map) {
              begin();
              if (is(0, 0)) ptx::copy_box_to(kBox, map, 0, 0, 0, 1U << 2);
            }),
            "rank 2 is outside the cluster, whose size is 2");
}
TEST_F(ClusterFault, CopyToNoBlock) {
  expect_in(fault([](const TensorMap& map) {
              begin();
              if (is(1, 3)) ptx::copy_box_to(kBox, map, 0, 0, 0, 0);
            }),
            "copies to no block: the mask of ranks is 0");
}
TEST_F(ClusterFault, OthersWhereTheLaunchHasNoClusters) {
  expect_in(fault(
                [](const TensorMap&) {
                  begin();
                  ptx::mbarrier_arrive_at(0, 1);
                },
                2, 1),
            "rank 1 is outside the cluster, whose size is 1");
}

// ---- the begin --------------------------------------------------------------------------------------------------

TEST_F(ClusterFault, ArrivalBeforeTheFirstClusterBarrier) {
  const auto kernel = [](int by) {
    return [by](const TensorMap&) {
      if (ptx::thread_index() == 0) ptx::mbarrier_init(0, 1);
      ptx::barrier();
      if (is(by, 0)) ptx::mbarrier_arrive_at(0, 1 - by);
      ptx::cluster_barrier();
    };
  };
  expect_in(fault(kernel(0)), "reaches into block 1 before the first cluster_barrier: it might not have begun");
  expect_in(fault(kernel(1)), "reaches into block 0 before the first cluster_barrier: it might not have begun");
}
TEST_F(ClusterFault, CopyBeforeTheFirstClusterBarrier) {
  expect_in(fault([](const TensorMap& map) {
              if (ptx::thread_index() == 0) {
                ptx::mbarrier_init(0, 1);
                ptx::mbarrier_fence_inits();
              }
              ptx::barrier();
              if (is(1, 0)) ptx::copy_box_to(kBox, map, 0, 0, 0, kBoth);
            }),
            "reaches into block 0 before the first cluster_barrier: it might not have begun");
}
TEST_F(ClusterFault, NoneWhereABlockReachesIntoItselfBeforeTheFirstClusterBarrier) {
  EXPECT_EQ(fault([](const TensorMap& map) {
              if (ptx::thread_index() > 0) return;
              ptx::mbarrier_init(0, 2);
              ptx::mbarrier_fence_inits();
              ptx::mbarrier_arrive_expecting(0, kBoxBytes);
              ptx::copy_box_to(kBox, map, 0, 0, 0, static_cast<unsigned short>(1U << ptx::cluster_rank()));
              ptx::mbarrier_arrive_at(0, ptx::cluster_rank());
              ptx::mbarrier_wait(0, 0);
            }),
            "none");
}
TEST_F(ClusterFault, MbarrierOfAnotherBlockThatIsInitialisedAfterTheClusterBarrier) {
  expect_in(fault([](const TensorMap&) {
              ptx::cluster_barrier();
              if (is(0, 33)) ptx::mbarrier_init(0, 1);
              if (is(1, 5)) ptx::mbarrier_arrive_at(0, 0);
              ptx::cluster_barrier();
            }),
            "in block 0: the mbarrier at 0 is used without a barrier after thread 33 initialised it");
}
TEST_F(ClusterFault, CopyToAnMbarrierOfAnotherBlockWithoutTheFence) {
  expect_in(fault([](const TensorMap& map) {
              if (ptx::thread_index() == 0) ptx::mbarrier_init(0, 1);
              ptx::cluster_barrier();
              if (is(0, 0)) ptx::copy_box_to(kBox, map, 0, 0, 0, kOther);
            }),
            "in block 1: a copy for the mbarrier at 0 begins without mbarrier_fence_inits and a barrier after it");
}

// ---- the end ----------------------------------------------------------------------------------------------------

TEST_F(ClusterFault, ReachesIntoABlockThatHasEnded) {
  const auto kernel = [](bool copies) {
    return [copies](const TensorMap& map) {
      begin();
      if (!is(0, 0)) return;
      wait_long(map);
      if (copies) ptx::copy_box_to(2 * kBox, map, 0, 0, 0, kOther);
      if (!copies) ptx::mbarrier_arrive_at(0, 1);
    };
  };
  expect_in(fault(kernel(false)), "reaches into block 1, which has ended");
  expect_in(fault(kernel(true)), "reaches into block 1, which has ended");
}
TEST_F(ClusterFault, BlockThatEndsWithoutWaitingForAnArrival) {
  // The arrival happens to come first; on a GPU, the block may end first.
  const auto kernel = [](bool waits) {
    return [waits](const TensorMap&) {
      begin();
      if (is(0, 40)) ptx::mbarrier_arrive_at(0, 1);
      if (is(1, 9) && waits) ptx::mbarrier_wait(0, 0);
    };
  };
  expect_in(fault(kernel(false)), "block 1 ended without waiting for this arrival (mbarrier at 0)");
  expect_in(fault(kernel(false)), "block 0 thread 40, ");
  EXPECT_EQ(fault(kernel(true)), "none");
}
TEST_F(ClusterFault, NoneWhereAClusterBarrierComesBetweenTheLastArrivalAndTheEnd) {
  EXPECT_EQ(fault([](const TensorMap&) {
              begin();
              if (is(0, 40)) ptx::mbarrier_arrive_at(0, 1);
              ptx::cluster_barrier();
            }),
            "none");
}
TEST_F(ClusterFault, BlockThatEndsWhileACopyToItIsUnderWay) {
  expect_in(fault([](const TensorMap& map) {
              begin();
              if (is(1, 0)) ptx::mbarrier_arrive_expecting(0, kBoxBytes);
              if (is(0, 0)) ptx::copy_box_to(kBox, map, 0, 0, 0, kOther);
            }),
            "block 1 ended while this bulk copy was under way to it");
}
TEST_F(ClusterFault, BlockThatEndsWithoutWaitingForACopyToIt) {
  expect_in(fault([](const TensorMap& map) {
              begin();
              if (is(0, 0)) ptx::copy_box_to(kBox, map, 0, 0, 0, kOther);
              if (!is(1, 0)) return;
              ptx::mbarrier_arrive_expecting(0, kBoxBytes);
              wait_long(map);
            }),
            "block 1 ended without waiting for this bulk copy (mbarrier at 0)");
}

// ---- races ------------------------------------------------------------------------------------------------------

TEST_F(ClusterFault, OverwritesWhatAnotherBlockStillReads) {
  const auto kernel = [](bool arrives, bool waits) {
    return [=](const TensorMap& map) {
      begin();
      fill_both(map);
      if (is(1, 37)) {
        static_cast<void>(ptx::load_shared<int>(kBox));
        if (arrives) ptx::mbarrier_arrive_at(8, 0);
      }
      if (is(0, 0)) {
        if (waits) ptx::mbarrier_wait(8, 0);
        wait_long(map);
        ptx::copy_box_to(kBox, map, 0, 0, 0, kOther);
      }
      if (is(1, 0)) ptx::mbarrier_arrive_expecting(0, kBoxBytes);
      if (is(1, 0)) ptx::mbarrier_wait(0, 1);
      ptx::cluster_barrier();
    };
  };
  EXPECT_EQ(fault(kernel(true, true)), "none");
  for (const bool arrives : {false, true}) {
    const std::string message = fault(kernel(arrives, false));
    expect_in(message, "in block 1: shared memory 1024 is written without a barrier after thread 37 read it");
    EXPECT_EQ(message.find("block 0 thread 0, "), 0U) << message;
  }
}
TEST_F(ClusterFault, OverwritesACopyToAnotherBlockThatIsUnderWay) {
  expect_in(fault([](const TensorMap& map) {
              begin();
              if (is(0, 0)) ptx::copy_box_to(kBox, map, 0, 0, 0, kOther);
              if (is(1, 0)) ptx::copy_box(kBox, map, 0, 0, 8);
              ptx::cluster_barrier();
            }),
            "is written while a copy for the mbarrier at 0 is under way");
}
TEST_F(ClusterFault, OverwritesWhatSomeThreadsOfAnotherBlockStillRead) {
  // Both have waited for the first copy and say so, but one of them reads on.
  expect_in(fault([](const TensorMap& map) {
              begin();
              fill_both(map);
              if (is(1, 37)) ptx::mbarrier_arrive_at(8, 0);
              if (is(1, 37)) static_cast<void>(ptx::load_shared<int>(kBox + 512));
              if (is(0, 0)) {
                ptx::mbarrier_wait(8, 0);
                ptx::mbarrier_arrive_expecting(0, kBoxBytes);
                ptx::copy_box_to(kBox, map, 0, 0, 0, kBoth);
              }
              ptx::cluster_barrier();
            }),
            "in block 1: shared memory 1536 is written without a barrier after thread 37 read it");
}
TEST_F(ClusterFault, OverwritesWhatAnotherBlockStores) {
  expect_in(fault([](const TensorMap& map) {
              begin();
              if (is(1, 50)) ptx::store_shared(kBox + 64, 1);
              if (is(0, 0)) wait_long(map);
              if (is(0, 0)) ptx::copy_box_to(kBox, map, 0, 0, 0, kOther);
              ptx::cluster_barrier();
            }),
            "in block 1: shared memory 1088 is written without a barrier after thread 50 wrote it");
}
TEST_F(ClusterFault, ReadsWhereACopyOfAnotherBlockIsUnderWay) {
  expect_in(fault([](const TensorMap& map) {
              begin();
              if (is(0, 0)) ptx::copy_box_to(kBox, map, 0, 0, 0, kOther);
              if (is(1, 2)) static_cast<void>(ptx::load_shared<int>(kBox));
              ptx::cluster_barrier();
            }),
            "is read while a copy for the mbarrier at 0 is under way");
}
TEST_F(ClusterFault, ReadsWhatACopyOfAnotherBlockFilledWithoutAWait) {
  expect_in(fault([](const TensorMap& map) {
              begin();
              if (ptx::thread_index() == 0) fill_both(map);
              static_cast<void>(ptx::shuffle(1, 0));  // warp 0 goes on when thread 0 has waited; that tells it nothing
              if (is(1, 1)) static_cast<void>(ptx::load_shared<int>(kBox));
              ptx::cluster_barrier();
            }),
            "shared memory 1024 is read without a wait for phase 0 of the mbarrier at 0, which its copy ends");
}
TEST_F(ClusterFault, CopyThatNothingTellsThatTheOtherBlockIsInANewPhase) {
  // Elsewhere in its memory, so that no bytes are overwritten; but they may count for the phase before.
  expect_in(fault([](const TensorMap& map) {
              begin();
              if (ptx::thread_index() == 0) ptx::mbarrier_arrive(0);
              if (is(0, 0)) wait_long(map);
              if (is(0, 0)) ptx::copy_box_to(kBox, map, 0, 0, 0, kOther);
              ptx::cluster_barrier();
            }),
            "in block 1: a copy for phase 1 of the mbarrier at 0 begins, and nothing tells its thread that phase 0 has "
            "ended");
}

// ---- bytes and arrivals -----------------------------------------------------------------------------------------

TEST_F(ClusterFault, ExpectsFewerBytesThanHaveCome) {
  // All of them have landed when the arrival comes.
  expect_in(fault([](const TensorMap& map) {
              begin();
              if (is(0, 0)) ptx::copy_box_to(kBox, map, 0, 0, 0, kOther);
              if (is(1, 0)) {
                wait_long(map);
                ptx::mbarrier_arrive_expecting(0, kBoxBytes - 128);
              }
              ptx::cluster_barrier();
            }),
            "phase 0 of the mbarrier at 0 has all its arrivals, and they expected 128 bytes too few");
}
TEST_F(ClusterFault, CopyOfMoreBytesThanAllArrivalsExpect) {
  const std::string message = fault([](const TensorMap& map) {
    begin();
    if (is(1, 0)) ptx::mbarrier_arrive_expecting(0, kBoxBytes - 128);
    if (is(0, 0)) ptx::copy_box_to(kBox, map, 0, 0, 0, kOther);
    ptx::mbarrier_wait(0, 0);
  });
  expect_in(message, "in block 1: a copy of 4096 bytes lands in phase 0 of the mbarrier at 0, which expects 3968 more");
  EXPECT_EQ(message.find("block 0 thread 0, "), 0U) << message;
}
TEST_F(ClusterFault, CopyThatIsExpectedAndNobodyStarts) {
  const std::string message = fault([](const TensorMap& map) {
    begin();
    if (ptx::thread_index() == 0) ptx::mbarrier_arrive_expecting(0, kBoxBytes);
    if (is(0, 0)) ptx::copy_box_to(kBox, map, 0, 0, 0, 1);  // for both, was meant
    ptx::mbarrier_wait(0, 0);
  });
  expect_in(message, "block 0: deadlock: thread 0 has ended; block 1: deadlock: thread 0 waits in mbarrier_wait at");
  EXPECT_NE(message.find("for parity 0, and the mbarrier at 0 is in phase 0 and misses 0 of 1 arrivals and 4096 bytes"),
            std::string::npos)
      << message;
}
TEST_F(ClusterFault, MoreArrivalsFromAnotherBlockThanAPhaseHas) {
  expect_in(fault([](const TensorMap&) {
              begin();
              if (is(1, 0)) ptx::mbarrier_arrive_expecting(0, kBoxBytes);
              ptx::cluster_barrier();
              if (is(0, 2)) ptx::mbarrier_arrive_at(0, 1);
            }),
            "in block 1: the mbarrier at 0 has more than its 1 arrivals in phase 0, which still misses 4096 bytes");
}

// ---- cluster barriers -------------------------------------------------------------------------------------------

TEST_F(ClusterFault, ClusterBarrierThatAThreadDoesNotReach) {
  const std::string message = fault([](const TensorMap&) {
    if (!is(1, 60)) ptx::cluster_barrier();
  });
  expect_in(message, "block 0: deadlock: thread 0 waits in cluster_barrier at");
  EXPECT_NE(message.find("thread 60 has ended; thread 61 waits in cluster_barrier"), std::string::npos) << message;
}
TEST_F(ClusterFault, ClusterBarrierThatABlockDoesNotReach) {
  const std::string message = fault([](const TensorMap&) {
    if (ptx::cluster_rank() == 1) ptx::cluster_barrier();
  });
  expect_in(message, "block 0: deadlock: thread 0 has ended; block 1: deadlock: thread 0 waits in cluster_barrier at");
}
TEST_F(ClusterFault, ClusterBarrierWhileOthersWaitInABlocksBarrier) {
  const std::string message = fault([](const TensorMap&) {
    if (ptx::thread_index() < 32) ptx::cluster_barrier();
    if (ptx::thread_index() >= 32) ptx::barrier();
  });
  expect_in(message, "thread 32 waits in barrier at");
}
TEST_F(ClusterFault, TwoDifferentClusterBarriers) {
  expect_in(fault([](const TensorMap&) {
              if (ptx::cluster_rank() == 0) {
                ptx::cluster_barrier();
              } else {
                ptx::cluster_barrier();
              }
            }),
            "reaches this cluster_barrier while others wait in the one at cluster_fault_test.cpp:");
}

}  // namespace
}  // namespace expertile::testing
