// What a warp's lanes do together with matrices of 16 bits.

#include <gtest/gtest.h>

#include <ptx90.hpp>  // the emulator's

#include "emulator/emulator.hpp"

namespace expertile::testing {
namespace {

// What each of the warp's 8 x 8 matrices of 16 bits, element (row, column) being 64 * matrix + 8 * row + column, leaves
// in shared memory, one behind the other.
template <bool TRANSPOSED, int MATRICES>
void expect_stored() {
  alignas(16) unsigned out[32 * MATRICES] = {};
  const emulator::Launch launch{.threads = 32, .shared_bytes = 1024, .memory = {{"out", out, sizeof(out), true}}};
  ASSERT_TRUE(emulator::run(launch, [&] {
    const auto lane = static_cast<unsigned>(ptx::thread_index());
    unsigned word[MATRICES];
    for (unsigned i = 0; i < MATRICES; ++i) {
      const unsigned first = 64 * i + lane / 4 * 8 + 2 * (lane % 4);
      word[i] = first | (first + 1) << 16U;
    }
    ptx::store_matrices<TRANSPOSED>(16 * lane, word);
    ptx::warp_barrier();
    for (unsigned i = 0; i < MATRICES; ++i) {
      ptx::store_global(&out[32 * i + lane], ptx::load_shared<unsigned>(4 * (32 * i + lane)));
    }
  }));
  for (unsigned i = 0; i < 32 * MATRICES; ++i) {
    const unsigned row = i / 4;  // of all matrices
    const unsigned first = TRANSPOSED ? row / 8 * 64 + 2 * (i % 4) * 8 + row % 8 : 8 * row + 2 * (i % 4);
    EXPECT_EQ(out[i], first | (first + (TRANSPOSED ? 8 : 1)) << 16U) << i;
  }
}
TEST(Lanes, StoreMatricesAsTheyAreOrTransposed) {
  expect_stored<false, 4>();
  expect_stored<true, 4>();
  expect_stored<true, 2>();
}

}  // namespace
}  // namespace expertile::testing
