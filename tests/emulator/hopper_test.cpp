// A small kernel for the emulator's barriers, bulk copies and warpgroup products: a ring that one thread fills and a
// warpgroup empties. It is right, and every mistake that is planted in it is stopped.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <ptx90.hpp>  // the emulator's
#include <random>
#include <string>
#include <vector>
#include <wgmma.hpp>

#include "emulator/emulator.hpp"
#include "emulator/tensor_core.hpp"
#include "emulator/tensor_map.hpp"

namespace expertile::testing {
namespace {

constexpr int kRows = 64;
constexpr int kColumns = 24;
constexpr int kStages = 2;
constexpr int kSlices = 5;  // of 128 bytes
constexpr int kSteps = 4;   // of 32 bytes in a slice
constexpr int kThreads = 160;
constexpr int kProducer = 128;  // thread
constexpr unsigned kX = 0;      // [stages, 64 rows] in shared memory
constexpr unsigned kY = kStages * kRows * 128;
constexpr unsigned kYBytes = 3072;  // a stage's
constexpr unsigned kFull = kY + kStages * kYBytes;
constexpr unsigned kEmpty = kFull + 8 * kStages;
constexpr int kSharedBytes = kEmpty + 8 * kStages;

// What a kernel may do wrong: false and 0 are right.
struct Mistakes {
  bool skips_full_wait = false;
  bool skips_empty_wait = false;
  bool releases_early = false;  // before the products of the stage have been waited for
  bool releases_twice = false;
  bool skips_init_fence = false;
  bool skips_init_barrier = false;
  bool skips_product_fence = false;
  bool waits_in_one_thread = false;
  bool touches_sums = false;  // while products are under way
  bool touches_x = false;     // in registers
  int full_parity = 0;        // added
  int expected_bytes = 0;     // added
  int box_offset = 0;         // added
  int pending = 0;
  bool skips_last_wait = false;
  unsigned long long x_descriptor = 0;  // added
  bool transposes_slices = false;
};

template <Product PRODUCT>
struct Operands {
  alignas(16) unsigned char x[kRows][kSlices * 128];
  alignas(16) unsigned char y[kColumns][kSlices * 128];
  alignas(16) ptx::WideSum<PRODUCT> sums[kRows][kColumns];
};

void produce(const TensorMap& x, const TensorMap& y, int element_bytes, const Mistakes& mistakes) {
  for (int slice = 0; slice < kSlices; ++slice) {
    const auto stage = static_cast<unsigned>(slice % kStages);
    if (!mistakes.skips_empty_wait) ptx::mbarrier_wait(kEmpty + 8 * stage, 1 - slice / kStages % 2);
    ptx::mbarrier_arrive_expecting(kFull + 8 * stage, (kRows + kColumns) * 128 + mistakes.expected_bytes);
    const int column = slice * 128 / element_bytes;
    ptx::copy_box(kX + stage * kRows * 128 + static_cast<unsigned>(mistakes.box_offset), x, column, 0,
                  kFull + 8 * stage);
    ptx::copy_box(kY + stage * kYBytes, y, column, 0, kFull + 8 * stage);
  }
}

template <Product PRODUCT>
void consume(bool x_in_registers, const Mistakes& mistakes, ptx::WideSum<PRODUCT> (&d)[kColumns / 8][4]) {
  const int thread = ptx::thread_index();
  for (int slice = 0; slice < kSlices; ++slice) {
    const auto stage = static_cast<unsigned>(slice % kStages);
    const bool waits = !mistakes.skips_full_wait && (!mistakes.waits_in_one_thread || thread % 32 == 0);
    if (waits) ptx::mbarrier_wait(kFull + 8 * stage, (slice / kStages + mistakes.full_parity) % 2);
    unsigned x[kSteps][4] = {};
    for (int step = 0; x_in_registers && step < kSteps; ++step) {
      for (int i = 0; i < 4; ++i) {
        const int row = thread / 32 * 16 + thread % 32 / 4 + 8 * (i % 2);
        const int chunk = (2 * step + i / 2) ^ (row % 8);
        x[step][i] = ptx::load_shared<unsigned>(kX + stage * kRows * 128 +
                                                static_cast<unsigned>(128 * row + 16 * chunk + 4 * (thread % 4)));
      }
    }
    if (!mistakes.skips_product_fence) ptx::wgmma_fence();
    for (int step = 0; step < kSteps; ++step) {
      const auto place = static_cast<unsigned>(32 * step);
      const auto y = ptx::descriptor(ptx::descriptor_base(kY + stage * kYBytes + place));
      const bool adds = slice > 0 || step > 0;
      if (x_in_registers) {
        if (adds) {
          ptx::wgmma_from_registers<PRODUCT, kColumns, true>(d, x[step], y);
        } else {
          ptx::wgmma_from_registers<PRODUCT, kColumns, false>(d, x[step], y);
        }
      } else {
        const auto in_shared =
            ptx::descriptor(ptx::descriptor_base(kX + stage * kRows * 128 + place)) + mistakes.x_descriptor;
        if (adds) {
          ptx::wgmma<PRODUCT, kColumns, true>(d, in_shared, y);
        } else {
          ptx::wgmma<PRODUCT, kColumns, false>(d, in_shared, y);
        }
      }
    }
    ptx::wgmma_commit();
    if (mistakes.touches_sums) d[0][1] = 0;
    if (mistakes.touches_x) x[1][2] = ~x[1][2];
    if (mistakes.releases_early) ptx::mbarrier_arrive(kEmpty + 8 * stage);
    if (mistakes.pending == 0 && !(mistakes.skips_last_wait && slice == kSlices - 1)) ptx::wgmma_wait<0>();
    if (mistakes.pending == 1) ptx::wgmma_wait<1>();
    if (!mistakes.releases_early) ptx::mbarrier_arrive(kEmpty + 8 * stage);
    if (mistakes.releases_twice && thread == 0) ptx::mbarrier_arrive(kEmpty + 8 * stage);
  }
}

template <Product PRODUCT>
void multiply(const TensorMap& x, const TensorMap& y, int element_bytes, bool x_in_registers, const Mistakes& mistakes,
              ptx::WideSum<PRODUCT> (&sums)[kRows][kColumns]) {
  const int thread = ptx::thread_index();
  if (thread == kProducer) {
    for (unsigned stage = 0; stage < kStages; ++stage) {
      ptx::mbarrier_init(kFull + 8 * stage, 1);
      ptx::mbarrier_init(kEmpty + 8 * stage, 128);
    }
    if (!mistakes.skips_init_fence) ptx::mbarrier_fence_inits();
  }
  if (!mistakes.skips_init_barrier) ptx::barrier();
  if (thread >= kProducer) {
    if (thread == kProducer) produce(x, y, element_bytes, mistakes);
    return;
  }
  ptx::WideSum<PRODUCT> d[kColumns / 8][4];
  consume<PRODUCT>(x_in_registers, mistakes, d);
  for (int j = 0; j < kColumns / 8; ++j) {
    for (int i = 0; i < 4; ++i) {
      const int row = thread / 32 * 16 + thread % 32 / 4 + 8 * (i / 2);
      ptx::store_global(&sums[row][8 * j + 2 * (thread % 4) + i % 2], d[j][i]);
    }
  }
}

template <Product PRODUCT>
std::string run(Operands<PRODUCT>& operands, int element_bytes, bool x_in_registers, const Mistakes& mistakes = {}) {
  const auto map = [&](const void* data, int rows) {
    return emulator::make_tensor_map(data, rows, kSlices * 128 / element_bytes, kSlices * 128, element_bytes, rows);
  };
  const TensorMap x = map(operands.x, kRows);
  const TensorMap y = map(operands.y, kColumns);
  const emulator::Launch launch{.blocks = 1,
                                .threads = kThreads,
                                .shared_bytes = kSharedBytes,
                                .memory = {{"x", operands.x, sizeof(operands.x), false},
                                           {"y", operands.y, sizeof(operands.y), false},
                                           {"sums", operands.sums, sizeof(operands.sums), true}}};
  const auto status =
      emulator::run(launch, [&] { multiply<PRODUCT>(x, y, element_bytes, x_in_registers, mistakes, operands.sums); });
  return status ? "none" : status.error().message;
}

// Small values, so that sums are exact in every type.
template <Product PRODUCT>
void fill(Operands<PRODUCT>& operands, int element_bytes) {
  std::mt19937 random(7);
  const auto fill_rows = [&](unsigned char* bytes, std::size_t count) {
    for (std::size_t i = 0; i < count; i += static_cast<std::size_t>(element_bytes)) {
      const auto value = static_cast<float>(static_cast<int>(random() % 9) - 4);
      const auto put = [&](auto bits) { std::memcpy(bytes + i, &bits, sizeof(bits)); };
      switch (PRODUCT) {
        case Product::tf32:
          put(value);
          break;
        case Product::e4m3:
          put(to_float8_e4m3(value).bits);
          break;
        case Product::int8:
          put(static_cast<std::int8_t>(value));
          break;
        case Product::bfloat16:
        case Product::int8_bfloat16:
          put(to_bfloat16(value).bits);
          break;
        default:
          put(to_float16(value).bits);
      }
    }
  };
  fill_rows(&operands.x[0][0], sizeof(operands.x));
  fill_rows(&operands.y[0][0], sizeof(operands.y));
}

template <Product PRODUCT>
double element(const unsigned char* row, int k) {
  switch (PRODUCT) {
    case Product::tf32:
      return emulator::tf32_at(row, k);
    case Product::e4m3:
      return to_float(Float8E4M3{row[k]});
    case Product::int8:
      return emulator::int8_at(row, k);
    case Product::bfloat16:
    case Product::int8_bfloat16:
      return emulator::bfloat16_at(row, k);
    default:
      return emulator::float16_at(row, k);
  }
}

template <Product PRODUCT>
int wrong_sums(const Operands<PRODUCT>& operands, int element_bytes) {
  int wrong = 0;
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; ++column) {
      double total = 0;
      for (int k = 0; k < kSlices * 128 / element_bytes; ++k) {
        total += element<PRODUCT>(operands.x[row], k) * element<PRODUCT>(operands.y[column], k);
      }
      wrong += total == static_cast<double>(operands.sums[row][column]) ? 0 : 1;
    }
  }
  return wrong;
}

template <Product PRODUCT>
void expect_right(int element_bytes) {
  for (const bool x_in_registers : {false, true}) {
    Operands<PRODUCT> operands;
    fill(operands, element_bytes);
    ASSERT_EQ(run(operands, element_bytes, x_in_registers), "none");
    EXPECT_EQ(wrong_sums(operands, element_bytes), 0) << (x_in_registers ? "x in registers" : "x in shared memory");
  }
}

TEST(WarpgroupProduct, IsRightForEveryProduct) {
  expect_right<Product::float16>(2);
  expect_right<Product::bfloat16>(2);
  expect_right<Product::tf32>(4);
  expect_right<Product::e4m3>(1);
  expect_right<Product::int8>(1);
  expect_right<Product::int8_float16>(2);
  expect_right<Product::int8_bfloat16>(2);
}

// ---- planted faults ---------------------------------------------------------------------------------------------

class FaultInARing : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "AddressSanitizer does not follow exceptions on the stacks of fibers";
#endif
    fill(operands_, 2);
  }
  // The emulator's words on the kernel above with a mistake.
  std::string fault(const Mistakes& mistakes, bool x_in_registers = false) {
    return run(operands_, 2, x_in_registers, mistakes);
  }
  static void expect_in(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
    EXPECT_NE(text.find("hopper_test.cpp:"), std::string::npos) << text;
  }

  Operands<Product::float16> operands_;
};

TEST_F(FaultInARing, NoneInAKernelThatIsRight) {
  EXPECT_EQ(fault(Mistakes{}), "none");
  EXPECT_EQ(wrong_sums(operands_, 2), 0);
}

TEST_F(FaultInARing, ReadsAStageThatWasNotWaitedFor) {
  expect_in(fault({.skips_full_wait = true}), "is read while a copy for the mbarrier at");
  expect_in(fault({.skips_full_wait = true}, true), "is read, and nothing has filled it");
}
TEST_F(FaultInARing, WaitsForTheOtherParityOfFull) {
  expect_in(fault({.full_parity = 1}), "is read while a copy for the mbarrier at");
  expect_in(fault({.full_parity = 1}, true), "is read, and nothing has filled it");
}
TEST_F(FaultInARing, OneThreadWaitsForAllOfItsWarp) { expect_in(fault({.waits_in_one_thread = true}), "is read"); }
TEST_F(FaultInARing, RefillsAStageThatNobodyReleased) {
  expect_in(fault({.skips_empty_wait = true}), "has more than its 1 arrivals in phase 0");
}
TEST_F(FaultInARing, ReleasesAStageBeforeItsProductsAreDone) {
  expect_in(fault({.releases_early = true}), "is written without a barrier after several threads read it");
}
TEST_F(FaultInARing, WaitsForTooFewGroupsOfProducts) {
  expect_in(fault({.pending = 1}), "is written while a product, or a store of a box, that reads it is under way");
}
TEST_F(FaultInARing, ReleasesAStageTwice) {
  const std::string message = fault({.releases_twice = true});
  EXPECT_NE(message.find("ended while the mbarrier at"), std::string::npos) << message;
}
TEST_F(FaultInARing, EndsWithProductsUnderWay) {
  const std::string message = fault({.skips_last_wait = true});
  EXPECT_NE(message.find("ended with products under way"), std::string::npos) << message;
}
TEST_F(FaultInARing, WritesSumsOfProductsUnderWay) {
  expect_in(fault({.touches_sums = true}), "sum d[0][1] was written while a product that adds to it was under way");
}
TEST_F(FaultInARing, WritesAnOperandInRegistersOfProductsUnderWay) {
  expect_in(fault({.touches_x = true}, true), "operand x[2] was written while a product that reads it was under way");
  EXPECT_EQ(fault({.touches_x = true}), "none");
}
TEST_F(FaultInARing, ProductWithoutAFence) {
  expect_in(fault({.skips_product_fence = true}), "without wgmma_fence since the last wgmma_wait");
}

TEST_F(FaultInARing, OperandWithAnotherStrideBetweenEightRows) {
  // Half the stride more: beyond the stage's rows. Half the stride less: rows that are there, only wrong ones.
  expect_in(fault({.x_descriptor = (512ULL >> 4) << 32}), "is read while a copy for the mbarrier at");
  EXPECT_EQ(fault({.x_descriptor = 0ULL - ((512ULL >> 4) << 32)}), "none");
  EXPECT_GT(wrong_sums(operands_, 2), kRows * kColumns / 2);
}
TEST_F(FaultInARing, OperandWithAnotherSwizzleMode) {
  expect_in(fault({.x_descriptor = 1ULL << 62}), "swizzle mode 2 is not 1");
}
TEST_F(FaultInARing, OperandThatBeginsBesideItsRows) {
  expect_in(fault({.x_descriptor = 1}), "it begins at 16, not 0, 32, 64 or 96 bytes after a multiple of 1024");
  expect_in(fault({.x_descriptor = 128 >> 4}), "it begins at 128");
}
TEST_F(FaultInARing, OperandThatNothingFilled) {
  expect_in(fault({.x_descriptor = kRows * 128 >> 4}), "is read while a copy for the mbarrier at");
}
TEST_F(FaultInARing, OperandOutsideSharedMemory) {
  expect_in(fault({.x_descriptor = 65536 >> 4}), "outside the block's");
}
TEST_F(FaultInARing, MisalignedBox) {
  expect_in(fault({.box_offset = 512}), "shared memory 512 is not aligned to 1024");
}
TEST_F(FaultInARing, BoxOutsideSharedMemory) { expect_in(fault({.box_offset = 65536}), "is outside the block's"); }
TEST_F(FaultInARing, ExpectsTooFewBytes) {
  expect_in(fault({.expected_bytes = -128}), "bytes lands in phase 0 of the mbarrier at");
  expect_in(fault({.expected_bytes = -kColumns * 128}), "ends while 1 of its copies are under way");
}
TEST_F(FaultInARing, ExpectsTooManyBytes) {
  const std::string message = fault({.expected_bytes = 128});
  expect_in(message, "deadlock");
  EXPECT_NE(message.find("is in phase 0 and misses 0 of 1 arrivals and 128 bytes"), std::string::npos) << message;
}
TEST_F(FaultInARing, CopyForAnMbarrierWithoutTheFence) {
  expect_in(fault({.skips_init_fence = true}), "without mbarrier_fence_inits and a barrier after it");
}
TEST_F(FaultInARing, MbarrierThatNothingInitialised) {
  expect_in(fault({.skips_init_barrier = true}), "used, and nothing has initialised it");
}

}  // namespace
}  // namespace expertile::testing
