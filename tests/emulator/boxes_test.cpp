// Boxes that the copy engine stores from shared memory, as the kernels write C, and what can go wrong with them: one
// planted fault each.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <ptx90.hpp>  // the emulator's
#include <string>

#include "emulator/box.hpp"
#include "emulator/emulator.hpp"
#include "emulator/tensor_map.hpp"

namespace expertile::testing {
namespace {

constexpr int kRows = 40;     // of the matrix
constexpr int kColumns = 72;  // the second box of a row has 8
constexpr int kBoxRows = 16;
constexpr unsigned kSlab = 1024;

unsigned short value_of(int row, int column) { return static_cast<unsigned short>(100 * row + column + 1); }

struct Mistakes {
  bool skips_fence = false;
  bool skips_barrier_before_the_store = false;
  bool skips_wait = false;
  bool skips_wait_at_the_end = false;
  bool skips_barrier_after_the_wait = false;
  int row_of_the_second_box = 16;
  unsigned slab = kSlab;
  int columns = kColumns;
  bool is_output = true;
};

class StoredBoxes : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "AddressSanitizer does not follow exceptions on the stacks of fibers";
#endif
  }
  // A warp's 16 rows from `row` on, 64 columns from `column` on, as the kernels permute them.
  static void fill(unsigned slab, int row, int column) {
    const int lane = ptx::thread_index() % 32;
    for (int i = lane; i < 8 * kBoxRows; i += 32) {
      ptx::Bytes16 chunk{};
      for (int e = 0; e < 8; ++e) {
        const unsigned bits = value_of(row + i / 8, column + i % 8 * 8 + e);
        chunk.word[e / 2] |= bits << (e % 2 * 16);
      }
      ptx::store_shared(slab + static_cast<unsigned>(emulator::chunk_place(i / 8, i % 8)), chunk);
    }
  }
  // One warp stores two boxes, one after the other from the same slab.
  static void store_two(const TensorMap& map, const Mistakes& mistakes, int column) {
    const bool is_first = ptx::thread_index() == 0;
    for (int box = 0; box < 2; ++box) {
      const int row = box == 0 ? 0 : mistakes.row_of_the_second_box;
      if (is_first && !(mistakes.skips_wait && box == 1)) ptx::wait_for_boxes<0>();
      if (!(mistakes.skips_barrier_after_the_wait && box == 1)) ptx::warp_barrier();
      fill(mistakes.slab, row, column);
      if (!mistakes.skips_fence) ptx::fence_stores();
      if (!mistakes.skips_barrier_before_the_store) ptx::warp_barrier();
      if (is_first) ptx::store_box(mistakes.slab, map, column, row);
      if (is_first) ptx::commit_boxes();
    }
    if (is_first && !mistakes.skips_wait_at_the_end) ptx::wait_for_boxes<0>();
  }
  // The emulator's words.
  std::string run(const Mistakes& mistakes, int column = 0) {
    std::fill(std::begin(matrix_), std::end(matrix_), kUntouched);
    const TensorMap map = emulator::make_tensor_map(matrix_, kRows, mistakes.columns, 2 * kPitch, 2, kBoxRows);
    const emulator::Launch launch{.blocks = 1,
                                  .threads = 32,
                                  .shared_bytes = 8192,
                                  .memory = {{"matrix", matrix_, sizeof(matrix_), mistakes.is_output}}};
    const auto status = emulator::run(launch, [&] { store_two(map, mistakes, column); });
    return status ? "none" : status.error().message;
  }
  void expect_fault(const Mistakes& mistakes, const std::string& part, int column = 0) {
    const std::string text = run(mistakes, column);
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  // Whether the rows [0, rows) and columns [begin, end) have their values, and all else is untouched.
  [[nodiscard]] bool holds(int rows, int begin, int end) const {
    for (int row = 0; row < kRows; ++row) {
      for (int column = 0; column < kPitch; ++column) {
        const bool is_inside = row < rows && column >= begin && column < end;
        if (matrix_[row * kPitch + column] != (is_inside ? value_of(row, column) : kUntouched)) return false;
      }
    }
    return true;
  }

  static constexpr int kPitch = 80;
  static constexpr unsigned short kUntouched = 0;
  alignas(16) unsigned short matrix_[kRows * kPitch] = {};
};

TEST_F(StoredBoxes, WriteTheirRowsAndNothingElse) {
  ASSERT_EQ(run({}), "none");
  EXPECT_TRUE(holds(32, 0, 64));
}
TEST_F(StoredBoxes, AreCutOffAtTheMatrixsEnd) {
  ASSERT_EQ(run({}, 64), "none");
  EXPECT_TRUE(holds(32, 64, kColumns));
  ASSERT_EQ(run({.row_of_the_second_box = 32}), "none");
  for (int row = 32; row < kRows; ++row) EXPECT_EQ(matrix_[row * kPitch], value_of(row, 0));
}
TEST_F(StoredBoxes, CutOffNoFinerThan16Bytes) {
  expect_fault({.columns = 71},
               "stores a box of a matrix whose rows have 142 bytes: they are cut off at multiples of 16");
}
TEST_F(StoredBoxes, NeedAFenceBehindTheStoresThatFilledThem) {
  expect_fault({.skips_fence = true}, "without fence_stores between that and the barrier that tells of it: products");
}
TEST_F(StoredBoxes, NeedABarrierBehindTheOthersThatFilledThem) {
  expect_fault({.skips_barrier_before_the_store = true}, "is read, and nothing has filled it");
}
TEST_F(StoredBoxes, AreNotOverwrittenBeforeTheyHaveBeenRead) {
  expect_fault({.skips_wait = true}, "is written while a product, or a store of a box, that reads it is under way");
}
TEST_F(StoredBoxes, AreNotOverwrittenByThoseWhoDoNotKnowThatTheyHaveBeenRead) {
  expect_fault({.skips_barrier_after_the_wait = true}, "is read without a barrier after thread 31 filled it");
}
TEST_F(StoredBoxes, AreWaitedForBeforeTheirThreadEnds) {
  expect_fault({.skips_wait_at_the_end = true}, "thread 0: ended with stores of boxes under way");
}
TEST_F(StoredBoxes, ThatReachIntoTheRowsOfTheNextAreCaught) {
  expect_fault({.row_of_the_second_box = 15}, "is written a second time");
}
TEST_F(StoredBoxes, LieAtMultiplesOf1024Bytes) {
  expect_fault({.slab = 512}, "shared memory 512 is not aligned to 1024 bytes");
}
TEST_F(StoredBoxes, GoToAnOutput) { expect_fault({.is_output = false}, "writes to byte 0 of matrix"); }

}  // namespace
}  // namespace expertile::testing
