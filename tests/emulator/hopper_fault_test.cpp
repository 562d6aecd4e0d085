// What the emulator demands of barriers, bulk copies and warpgroup products, one planted fault each.

#include <gtest/gtest.h>

#include <functional>
#include <ptx90.hpp>  // the emulator's
#include <string>
#include <wgmma.hpp>

#include "emulator/emulator.hpp"
#include "emulator/tensor_map.hpp"

namespace expertile::testing {
namespace {

class HopperFault : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "AddressSanitizer does not follow exceptions on the stacks of fibers";
#endif
  }
  // The emulator's words on a kernel of 256 threads, with 64 KiB of shared memory and a map of [64, 64] float16.
  std::string fault(const std::function<void(const TensorMap&)>& kernel) {
    const TensorMap map = emulator::make_tensor_map(matrix_, 64, 64, 128, 2, 64);
    const emulator::Launch launch{
        .blocks = 1, .threads = 256, .shared_bytes = 65536, .memory = {{"matrix", matrix_, sizeof(matrix_), false}}};
    const auto status = emulator::run(launch, [&] { kernel(map); });
    return status ? "none" : status.error().message;
  }
  // A barrier of one arrival at 0, and the matrix on its way to 1024.
  static void init_one(unsigned offset, int arrivals = 1) {
    if (ptx::thread_index() == 0) {
      ptx::mbarrier_init(offset, arrivals);
      ptx::mbarrier_fence_inits();
    }
    ptx::barrier();
  }
  static void copy_matrix(const TensorMap& map, int bytes = 8192, unsigned offset = 1024) {
    if (ptx::thread_index() != 0) return;
    ptx::mbarrier_arrive_expecting(0, bytes);
    ptx::copy_box(offset, map, 0, 0, 0);
  }
  static void multiply_matrix(unsigned place = 0) {
    float d[1][4];
    ptx::wgmma_fence();
    ptx::wgmma<Product::float16, 8, false>(d, ptx::descriptor(ptx::descriptor_base(1024 + place)),
                                           ptx::descriptor(ptx::descriptor_base(1024)));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
  }
  static void expect_in(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
    EXPECT_NE(text.find("hopper_fault_test.cpp:"), std::string::npos) << text;
  }

  alignas(16) unsigned short matrix_[64][64] = {};
};

TEST_F(HopperFault, OneThreadOfAWarpgroupDoesNotWait) {
  expect_in(fault([](const TensorMap& map) {
              init_one(0);
              copy_matrix(map);
              if (ptx::thread_index() >= 128) return;
              if (ptx::thread_index() != 77) ptx::mbarrier_wait(0, 0);
              multiply_matrix();
            }),
            "thread 77, ");
}
TEST_F(HopperFault, NoneWhereANamedBarrierTellsWhatOneThreadHasWaitedFor) {
  EXPECT_EQ(fault([](const TensorMap& map) {
              init_one(0);
              copy_matrix(map);
              if (ptx::thread_index() == 200) ptx::mbarrier_wait(0, 0);
              ptx::named_barrier(1, 256);
              if (ptx::thread_index() < 128) multiply_matrix();
            }),
            "none");
}
TEST_F(HopperFault, OneLaneReleasesWhatOthersOfItsWarpReadOnlyAfterABarrierOfTheWarp) {
  const auto released = [this](bool meets) {
    return fault([meets](const TensorMap& map) {
      init_one(0);
      init_one(8);
      copy_matrix(map);
      ptx::mbarrier_wait(0, 0);
      if (ptx::thread_index() / 32 == 1) {
        EXPECT_EQ(ptx::load_pair<2>(1024), 0U);
        if (meets) ptx::warp_barrier();
        if (ptx::thread_index() == 32) ptx::mbarrier_arrive(8);
      }
      if (ptx::thread_index() != 0) return;
      ptx::mbarrier_wait(8, 0);
      copy_matrix(map);
      ptx::mbarrier_wait(0, 1);
    });
  };
  EXPECT_EQ(released(true), "none");
  expect_in(released(false), "is written without a barrier after");
}
TEST_F(HopperFault, NoneWhereABoxIsRoundedToTf32OnItsWay) {
  alignas(16) static const unsigned in[8][32] = {
      {0x3f801000, 0xbf801000, 0x3f800fff, 0x3fffffff, 0x7f800000, 0xff801fff, 0x7fc00001, 0x00000fff}};
  const unsigned out[8] = {0x3f802000, 0xbf802000, 0x3f800000, 0x40000000, 0x7f800000, 0xff801fff, 0x7fc00001, 0};
  const TensorMap map = emulator::rounding_to_tf32(emulator::make_tensor_map(in, 8, 32, 128, 4, 8));
  const emulator::Launch launch{
      .blocks = 1, .threads = 32, .shared_bytes = 2048, .memory = {{"in", in, sizeof(in), false}}};
  const auto status = emulator::run(launch, [&] {
    init_one(0);
    if (ptx::thread_index() > 0) return;
    ptx::mbarrier_arrive_expecting(0, 1024);
    ptx::copy_box(1024, map, 0, 0, 0);
    ptx::mbarrier_wait(0, 0);
    for (unsigned i = 0; i < 8; ++i) EXPECT_EQ(ptx::load_shared<unsigned>(1024 + 4 * i), out[i]) << i;
  });
  EXPECT_TRUE(status) << status.error().message;
}
TEST_F(HopperFault, NoneWhereABoxReachesOutOfItsMatrix) {
  for (auto& row : matrix_) {
    for (auto& element : row) element = 7;
  }
  int wrong = 0;
  EXPECT_EQ(fault([&](const TensorMap& map) {
              init_one(0);
              if (ptx::thread_index() > 0) return;
              ptx::mbarrier_arrive_expecting(0, 8192);
              ptx::copy_box(1024, map, 40, 60, 0);  // 24 of its 64 columns and 4 of its 64 rows are there
              ptx::mbarrier_wait(0, 0);
              for (unsigned row = 0; row < 64; ++row) {
                for (unsigned chunk = 0; chunk < 8; ++chunk) {
                  const unsigned two = ptx::load_shared<unsigned>(1024 + 128 * row + 16 * (chunk ^ (row % 8)));
                  wrong += two == (row < 4 && chunk < 3 ? 0x70007U : 0U) ? 0 : 1;
                }
              }
            }),
            "none");
  EXPECT_EQ(wrong, 0);
}
TEST_F(HopperFault, ReadsACopyThatLandedButWasNotWaitedFor) {
  expect_in(fault([](const TensorMap& map) {
              init_one(0);
              copy_matrix(map);
              if (ptx::thread_index() == 0) ptx::mbarrier_wait(0, 0);
              static_cast<void>(ptx::shuffle(1, 0));  // warp 0 goes on when thread 0 has waited; that tells it nothing
              if (ptx::thread_index() == 1) static_cast<void>(ptx::load_shared<int>(1024));
            }),
            "shared memory 1024 is read without a wait for phase 0 of the mbarrier at 0");
}
TEST_F(HopperFault, OverwritesWithACopyWhatOthersStillRead) {
  expect_in(fault([](const TensorMap& map) {
              init_one(0);
              copy_matrix(map);
              ptx::mbarrier_wait(0, 0);
              if (ptx::thread_index() > 0) static_cast<void>(ptx::load_shared<int>(1024));
              static_cast<void>(ptx::shuffle(1, 0));
              copy_matrix(map);
            }),
            "is written without a barrier after");
}
TEST_F(HopperFault, OverwritesACopyUnderWay) {
  expect_in(fault([](const TensorMap& map) {
              init_one(0);
              copy_matrix(map);
              if (ptx::thread_index() == 0) ptx::copy_box(8192, map, 0, 0, 0);
            }),
            "is written while a copy for the mbarrier at 0 is under way");
}
TEST_F(HopperFault, StoresWhereACopyIsUnderWay) {
  expect_in(fault([](const TensorMap& map) {
              init_one(0);
              copy_matrix(map);
              if (ptx::thread_index() == 0) ptx::store_shared(1024U, 1);
            }),
            "is written while a copy for the mbarrier at 0 is under way");
}
// ---- operands ---------------------------------------------------------------------------------------------------

TEST_F(HopperFault, OperandThatOrdinaryStoresFilled) {
  expect_in(
      fault([](const TensorMap&) {
        for (unsigned i = 0; i < 16; ++i) {
          ptx::store_shared(4 * (i * 256 + static_cast<unsigned>(ptx::thread_index())) + 1024, 1);
        }
        ptx::barrier();
        multiply_matrix();
      }),
      "without fence_stores between that and the barrier that tells of it: products and stored boxes do not see it");
}
TEST_F(HopperFault, WarpsOfAWarpgroupBringDifferentOperands) {
  expect_in(fault([](const TensorMap& map) {
              init_one(0);
              copy_matrix(map);
              ptx::mbarrier_wait(0, 0);
              multiply_matrix(ptx::thread_index() / 32 == 3 ? 32 : 0);
            }),
            "thread 96, ");
}
TEST_F(HopperFault, LanesOfAWarpCallDifferentOperandsUniform) {
  expect_in(fault([](const TensorMap& map) {
              init_one(0);
              copy_matrix(map);
              ptx::mbarrier_wait(0, 0);
              multiply_matrix(ptx::uniform(ptx::thread_index() == 5 ? 32 : 0));
            }),
            "thread 5, ");
}

TEST_F(HopperFault, AWarpThatDoesNotComeToTheProduct) {
  const std::string message = fault([](const TensorMap& map) {
    init_one(0);
    copy_matrix(map);
    ptx::mbarrier_wait(0, 0);
    if (ptx::thread_index() / 32 != 2) multiply_matrix();
  });
  expect_in(message, "deadlock");
  EXPECT_NE(message.find("thread 64 has ended; thread 96 waits in wgmma"), std::string::npos) << message;
}

TEST_F(HopperFault, ProductOfThreadsThatAreNoWholeWarpgroup) {
  const TensorMap map = emulator::make_tensor_map(matrix_, 64, 64, 128, 2, 64);
  const emulator::Launch launch{
      .threads = 160, .shared_bytes = 65536, .memory = {{"matrix", matrix_, sizeof(matrix_), false}}};
  const auto status = emulator::run(launch, [&] {
    init_one(0);
    copy_matrix(map);
    ptx::mbarrier_wait(0, 0);
    if (ptx::thread_index() >= 128) multiply_matrix();
  });
  ASSERT_FALSE(status);
  expect_in(status.error().message, "the block's 160 threads end before its warpgroup does");
}

// ---- bulk copies ------------------------------------------------------------------------------------------------

TEST_F(HopperFault, BoxOutsideSharedMemory) {
  expect_in(fault([](const TensorMap& map) {
              init_one(0);
              copy_matrix(map, 8192, 65536 - 1024);
            }),
            "is outside the block's 65536 bytes");
}
TEST_F(HopperFault, BoxOverAnMbarrier) {
  expect_in(fault([](const TensorMap& map) {
              init_one(0);
              init_one(2048);
              copy_matrix(map);
            }),
            "shared memory 2048 is written, and it is an mbarrier");
}
TEST_F(HopperFault, BoxWhoseRowsAreOutsideTheTensor) {
  const std::string message = fault([](const TensorMap& map) {
    init_one(0);
    emulator::MappedMatrix longer = emulator::matrix_of(map);
    longer.rows = 65;
    if (ptx::thread_index() > 0) return;
    ptx::mbarrier_arrive_expecting(0, 8192);
    ptx::copy_box(1024, emulator::make_tensor_map(longer.data, 65, 64, 128, 2, 64), 0, 1, 0);
  });
  expect_in(message, "outside every tensor");
}
TEST_F(HopperFault, BoxOfAnOutput) {
  const TensorMap map = emulator::make_tensor_map(matrix_, 64, 64, 128, 2, 64);
  const emulator::Launch launch{
      .threads = 32, .shared_bytes = 65536, .memory = {{"matrix", matrix_, sizeof(matrix_), true}}};
  const auto status = emulator::run(launch, [&] {
    init_one(0);
    copy_matrix(map);
  });
  ASSERT_FALSE(status);
  expect_in(status.error().message, "reads byte 0 of matrix");
}
TEST_F(HopperFault, MapThatNobodyMade) {
  expect_in(fault([](const TensorMap&) {
              init_one(0);
              copy_matrix(TensorMap{});
            }),
            "not made by make_tensor_map");
}
TEST_F(HopperFault, EndsWithABulkCopyUnderWay) {
  expect_in(fault([](const TensorMap& map) {
              init_one(0);
              copy_matrix(map);
            }),
            "the block ended while this bulk copy was under way");
}

// ---- barriers ---------------------------------------------------------------------------------------------------

TEST_F(HopperFault, MbarrierUsedBeforeItsInitialisationIsSeen) {
  expect_in(fault([](const TensorMap&) {
              if (ptx::thread_index() == 0) ptx::mbarrier_init(8, 1);
              if (ptx::thread_index() == 40) ptx::mbarrier_arrive(8);
            }),
            "the mbarrier at 8 is used without a barrier after thread 0 initialised it");
}
TEST_F(HopperFault, MbarrierInitialisedTwice) {
  expect_in(fault([](const TensorMap&) {
              if (ptx::thread_index() % 128 == 0) ptx::mbarrier_init(8, 1);
            }),
            "the mbarrier at 8 is initialised a second time");
}
TEST_F(HopperFault, MisalignedMbarrier) {
  expect_in(fault([](const TensorMap&) { init_one(4); }), "shared memory 4 is not aligned to 8");
}
TEST_F(HopperFault, OrdinaryAccessToAnMbarrier) {
  expect_in(fault([](const TensorMap&) {
              init_one(8);
              static_cast<void>(ptx::load_shared<int>(8));
            }),
            "shared memory 8 is read, and it is an mbarrier");
  expect_in(fault([](const TensorMap&) {
              init_one(8);
              ptx::store_shared(12U, 1);
            }),
            "shared memory 12 is written, and it is an mbarrier");
}
TEST_F(HopperFault, DataUsedAsAnMbarrier) {
  expect_in(fault([](const TensorMap&) {
              if (ptx::thread_index() == 0) ptx::store_shared(16U, ptx::Bytes8{});
              ptx::barrier();
              ptx::mbarrier_arrive(16);
            }),
            "the mbarrier at 16 is used, and nothing has initialised it");
}
TEST_F(HopperFault, MoreArrivalsThanAPhaseHas) {
  expect_in(fault([](const TensorMap&) {
              init_one(0);
              if (ptx::thread_index() == 0) ptx::mbarrier_arrive_expecting(0, 64);
              if (ptx::thread_index() == 1) ptx::mbarrier_arrive(0);
            }),
            "has more than its 1 arrivals in phase 0, which still misses 64 bytes");
}
TEST_F(HopperFault, WaitForAPhaseThatNeverEnds) {
  const std::string message = fault([](const TensorMap&) {
    init_one(24, 2);
    if (ptx::thread_index() == 0) ptx::mbarrier_arrive(24);
    if (ptx::thread_index() == 9) ptx::mbarrier_wait(24, 0);
  });
  expect_in(message, "thread 9 waits in mbarrier_wait at");
  EXPECT_NE(message.find("for parity 0, and the mbarrier at 24 is in phase 0 and misses 1 of 2 arrivals"),
            std::string::npos)
      << message;
}
TEST_F(HopperFault, NamedBarriersThatDisagree) {
  expect_in(fault([](const TensorMap&) { ptx::named_barrier(3, ptx::thread_index() < 128 ? 256 : 128); }),
            "thread 128, ");
  expect_in(fault([](const TensorMap&) { ptx::named_barrier(3, 100); }), "named barrier 3 of 100 threads");
  expect_in(fault([](const TensorMap&) { ptx::named_barrier(0, 256); }), "named barrier 0: 1 to 15 are right");
  expect_in(fault([](const TensorMap&) {
              if (ptx::thread_index() < 64) ptx::named_barrier(1, 128);
            }),
            "thread 0 waits in named_barrier at");
  expect_in(fault([](const TensorMap&) {
              if (ptx::thread_index() % 2 == 0) ptx::named_barrier(1, 128);
            }),
            "16 threads of warp 0 came, not all");
}
TEST_F(HopperFault, ReadsWhatAThreadOutsideTheNamedBarrierWrote) {
  const auto kernel = [](int reader) {
    return [reader](const TensorMap&) {
      const int thread = ptx::thread_index();
      if (thread == 5) ptx::store_shared(64U, 1);
      if (thread < 128) ptx::named_barrier(1, 128);
      if (thread >= 128) ptx::named_barrier(2, 128);
      if (thread == reader) static_cast<void>(ptx::load_shared<int>(64));
    };
  };
  EXPECT_EQ(fault(kernel(99)), "none");
  expect_in(fault(kernel(130)), "shared memory 64 is read without a barrier after thread 5 filled it");
}
TEST_F(HopperFault, NoneWhereAnMbarrierOrdersAStoreAndALoad) {
  const auto kernel = [](bool waits) {
    return [waits](const TensorMap&) {
      init_one(0);
      if (ptx::thread_index() == 5) {
        ptx::store_shared(64U, 1);
        ptx::mbarrier_arrive(0);
      }
      if (ptx::thread_index() == 130 && waits) ptx::mbarrier_wait(0, 0);
      if (ptx::thread_index() == 130) static_cast<void>(ptx::load_shared<int>(64));
    };
  };
  EXPECT_EQ(fault(kernel(true)), "none");
  expect_in(fault(kernel(false)), "shared memory 64 is read without a barrier after thread 5 filled it");
}

}  // namespace
}  // namespace expertile::testing
