// What splits float32 for the tensor core, in a ring of the size that a test can look through: a warp copies, three
// split the tokens, a warpgroup splits its weights and multiplies. It keeps float32's accuracy, and every mistake that
// is planted in it is stopped.

#include "sm90/residuals.hpp"  // with the emulator's ptx90.hpp

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <wgmma.hpp>

#include "emulator/emulator.hpp"
#include "emulator/tensor_map.hpp"
#include "kernel_shape.hpp"

namespace expertile::testing {
namespace {

constexpr int kRows = 64;    // of weights
constexpr int kTokens = 24;  // columns
constexpr int kStages = 2;
constexpr int kSlices = 5;
constexpr int kSteps = 4;  // products a slice of 32 elements
constexpr int kK = kSlices * 32;
constexpr int kCopier = 128;    // thread
constexpr int kSplitter = 160;  // the first
constexpr int kThreads = 256;
constexpr unsigned kWeightBytes = kRows * kSwizzleBytes;  // a stage's
constexpr unsigned kTokenBytes = kTokens * kSwizzleBytes;
constexpr unsigned kRaw = kStages * kWeightBytes;
constexpr unsigned kSmall = kRaw + kStages * kTokenBytes;
constexpr unsigned kFull = kSmall + kStages * kTokenBytes;
constexpr unsigned kEmpty = kFull + 8 * kStages;
constexpr unsigned kSplit = kEmpty + 8 * kStages;
constexpr int kSharedBytes = kSplit + 8 * kStages;

// What the kernel may do wrong.
struct Mistakes {
  bool skips_fence = false;
  bool fences_first = false;  // before the stores
  bool one_lane_does_not_fence = false;
  bool skips_warp_barrier = false;   // of the splitting warps
  bool skips_split_wait = false;     // of the products
  bool skips_full_wait = false;      // of the splitting warps
  bool splits_too_little = false;    // the last chunk is left out
  bool forgets_small_parts = false;  // a product too few: wrong, but no fault
};

struct Operands {
  alignas(16) float weights[kRows][kK];
  alignas(16) float tokens[kTokens][kK];
  alignas(16) float sums[kRows][kTokens];
};

void copy(const TensorMap& weights, const TensorMap& tokens) {
  for (int slice = 0; slice < kSlices; ++slice) {
    const auto stage = static_cast<unsigned>(slice % kStages);
    ptx::mbarrier_wait(kEmpty + 8 * stage, 1 - slice / kStages % 2);
    ptx::mbarrier_arrive_expecting(kFull + 8 * stage, (kRows + kTokens) * kSwizzleBytes);
    ptx::copy_box(stage * kWeightBytes, weights, 32 * slice, 0, kFull + 8 * stage);
    ptx::copy_box(kRaw + stage * kTokenBytes, tokens, 32 * slice, 0, kFull + 8 * stage);
  }
}

void split(const Mistakes& mistakes) {
  const int thread = ptx::thread_index() - kSplitter;
  for (int slice = 0; slice < kSlices; ++slice) {
    const auto stage = static_cast<unsigned>(slice % kStages);
    if (!mistakes.skips_full_wait) ptx::mbarrier_wait(kFull + 8 * stage, slice / kStages % 2);
    if (mistakes.fences_first) ptx::fence_stores();
    sm90::write_residuals(kRaw + stage * kTokenBytes, kSmall + stage * kTokenBytes,
                          kTokens * kSwizzleBytes / 16 - (mistakes.splits_too_little ? 1 : 0), thread);
    const bool fences = !mistakes.skips_fence && !mistakes.fences_first;
    if (fences && !(mistakes.one_lane_does_not_fence && thread == 37)) ptx::fence_stores();
    if (!mistakes.skips_warp_barrier) ptx::warp_barrier();
    if (thread % 32 == 0) ptx::mbarrier_arrive(kSplit + 8 * stage);
  }
}

void multiply(float (&d)[kTokens / 8][4], const Mistakes& mistakes) {
  constexpr auto kProduct = Product::tf32x3;
  const int warp = ptx::thread_index() / 32;
  const int lane = ptx::thread_index() % 32;
  for (int slice = 0; slice < kSlices; ++slice) {
    const auto stage = static_cast<unsigned>(slice % kStages);
    ptx::mbarrier_wait(kFull + 8 * stage, slice / kStages % 2);
    unsigned x[kSteps][2][4];
    for (int step = 0; step < kSteps; ++step) {
      sm90::load_weight_terms(x[step], stage * kWeightBytes + sm90::matrix_row(16 * warp, lane), step);
    }
    ptx::warp_barrier();
    if (!mistakes.skips_split_wait) ptx::mbarrier_wait(kSplit + 8 * stage, slice / kStages % 2);
    ptx::wgmma_fence();
    for (int step = 0; step < kSteps; ++step) {
      const auto y =
          ptx::descriptor(ptx::advance_descriptor(ptx::descriptor_base(kRaw + stage * kTokenBytes), 32 * step));
      const auto small_y =
          ptx::descriptor(ptx::advance_descriptor(ptx::descriptor_base(kSmall + stage * kTokenBytes), 32 * step));
      ptx::wgmma_from_registers<kProduct, kTokens, true>(d, x[step][1], y);
      if (!mistakes.forgets_small_parts) ptx::wgmma_from_registers<kProduct, kTokens, true>(d, x[step][0], small_y);
      ptx::wgmma_from_registers<kProduct, kTokens, true>(d, x[step][0], y);
    }
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    if (lane == 0) ptx::mbarrier_arrive(kEmpty + 8 * stage);
  }
}

void kernel(const TensorMap& weights, const TensorMap& tokens, Operands& operands, const Mistakes& mistakes) {
  const int thread = ptx::thread_index();
  if (thread == 0) {
    for (unsigned stage = 0; stage < kStages; ++stage) {
      ptx::mbarrier_init(kFull + 8 * stage, 1);
      ptx::mbarrier_init(kEmpty + 8 * stage, 4);
      ptx::mbarrier_init(kSplit + 8 * stage, kResidualWarps);
    }
    ptx::mbarrier_fence_inits();
  }
  ptx::barrier();
  if (thread == kCopier) copy(weights, tokens);
  if (thread >= kSplitter) split(mistakes);
  if (thread >= kCopier) return;
  float d[kTokens / 8][4] = {};
  multiply(d, mistakes);
  for (int j = 0; j < kTokens / 8; ++j) {
    for (int i = 0; i < 4; ++i) {
      const int row = thread / 32 * 16 + thread % 32 / 4 + 8 * (i / 2);
      ptx::store_global(&operands.sums[row][8 * j + 2 * (thread % 4) + i % 2], d[j][i]);
    }
  }
}

class SplitRing : public ::testing::Test {
 protected:
  void SetUp() override {
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    for (auto& row : operands_.weights) {
      for (float& value : row) value = normal(random);
    }
    for (auto& row : operands_.tokens) {
      for (float& value : row) value = normal(random);
    }
  }
  std::string run(const Mistakes& mistakes = {}) {
    const auto map = [](const void* data, int rows) {
      return emulator::make_tensor_map(data, rows, kK, 4 * kK, 4, rows);
    };
    const TensorMap weights = map(operands_.weights, kRows);
    const TensorMap tokens = map(operands_.tokens, kTokens);
    const emulator::Launch launch{.blocks = 1,
                                  .threads = kThreads,
                                  .shared_bytes = kSharedBytes,
                                  .memory = {{"weights", operands_.weights, sizeof(operands_.weights), false},
                                             {"tokens", operands_.tokens, sizeof(operands_.tokens), false},
                                             {"sums", operands_.sums, sizeof(operands_.sums), true}}};
    const auto status = emulator::run(launch, [&] { kernel(weights, tokens, operands_, mistakes); });
    return status ? "none" : status.error().message;
  }
  // The largest of the sums' errors, in units of 2^-24 of the sum of the products' magnitudes.
  [[nodiscard]] double worst_error() const {
    double worst = 0;
    for (int row = 0; row < kRows; ++row) {
      for (int token = 0; token < kTokens; ++token) {
        double sum = 0;
        double magnitude = 0;
        for (int k = 0; k < kK; ++k) {
          const double product = static_cast<double>(operands_.weights[row][k]) * operands_.tokens[token][k];
          sum += product;
          magnitude += std::fabs(product);
        }
        worst = std::max(worst, std::fabs(operands_.sums[row][token] - sum) / magnitude * 0x1p24);
      }
    }
    return worst;
  }
  // The emulator's words, or a skip where it cannot say them.
  static bool follows_faults() {
#ifdef __SANITIZE_ADDRESS__
    return false;  // AddressSanitizer does not follow exceptions on the stacks of fibers
#else
    return true;
#endif
  }
  void expect_fault(const Mistakes& mistakes, const std::string& part) {
    if (!follows_faults()) GTEST_SKIP();
    const std::string message = run(mistakes);
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }

  Operands operands_{};
};

TEST_F(SplitRing, KeepsFloat32sAccuracy) {
  ASSERT_EQ(run(), "none");
  EXPECT_LT(worst_error(), 8);
}
TEST_F(SplitRing, WithoutTheTokensSmallPartsHasTf32s) {
  ASSERT_EQ(run({.forgets_small_parts = true}), "none");
  EXPECT_GT(worst_error(), 256);
}

TEST_F(SplitRing, SmallPartsThatNobodyFences) {
  expect_fault({.skips_fence = true}, "without fence_stores between that and the barrier that tells of it: products");
}
TEST_F(SplitRing, SmallPartsThatAreFencedBeforeTheyAreStored) {
  expect_fault({.fences_first = true}, "without fence_stores between that and the barrier that tells of it: products");
}
TEST_F(SplitRing, SmallPartsOfAThreadThatDoesNotFence) {
  expect_fault({.one_lane_does_not_fence = true}, "was filled by thread 197, without fence_stores");
}
TEST_F(SplitRing, SmallPartsThatAreNotWaitedFor) {
  expect_fault({.skips_split_wait = true}, "is read without a barrier after thread 160 filled it");
}
TEST_F(SplitRing, ALaneThatTellsOfWhatItsWarpHasNotStored) {
  expect_fault({.skips_warp_barrier = true}, "the product's y");
}
TEST_F(SplitRing, TokensThatAreSplitBeforeTheyAreThere) { expect_fault({.skips_full_wait = true}, "is read"); }
TEST_F(SplitRing, AChunkThatIsNotSplit) {
  expect_fault({.splits_too_little = true}, "is read, and nothing has filled it");
}

// ---- the fence ----------------------------------------------------------------------------------------------------

constexpr unsigned kMatrix = 1024;  // [64, 128 bytes]

// The emulator's words on a kernel of 256 threads with a map of [64, 32] float32.
std::string fault(const std::function<void(const TensorMap&)>& run) {
  alignas(16) static const float matrix[64][32] = {};
  const TensorMap map = emulator::make_tensor_map(matrix, 64, 32, 128, 4, 64);
  const emulator::Launch launch{
      .threads = 256, .shared_bytes = 16384, .memory = {{"in", matrix, sizeof(matrix), false}}};
  const auto status = emulator::run(launch, [&] {
    if (ptx::thread_index() == 0) {
      ptx::mbarrier_init(0, 1);
      ptx::mbarrier_fence_inits();
    }
    ptx::barrier();
    run(map);
  });
  return status ? "none" : status.error().message;
}
void copy_matrix(const TensorMap& map) {
  if (ptx::thread_index() == 0) {
    ptx::mbarrier_arrive_expecting(0, 8192);
    ptx::copy_box(kMatrix, map, 0, 0, 0);
  }
  ptx::mbarrier_wait(0, 0);
}
void multiply_matrix() {
  float d[1][4];
  ptx::wgmma_fence();
  ptx::wgmma<Product::tf32, 8, false>(d, ptx::descriptor(ptx::descriptor_base(kMatrix)),
                                      ptx::descriptor(ptx::descriptor_base(kMatrix)));
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
}

class FenceOfStores : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "AddressSanitizer does not follow exceptions on the stacks of fibers";
#endif
  }
};

TEST_F(FenceOfStores, ComesBetweenTheStoreAndTheBarrierThatTellsOfIt) {
  enum class Fence { nowhere, before_the_store, before_the_barrier, behind_the_barrier, of_another_thread };
  const auto stored = [](Fence fence) {
    return fault([fence](const TensorMap& map) {
      const int thread = ptx::thread_index();
      copy_matrix(map);
      if (thread == 130 && fence == Fence::before_the_store) ptx::fence_stores();
      if (thread == 130) ptx::store_shared(kMatrix, 1);
      if (thread == 130 && fence == Fence::before_the_barrier) ptx::fence_stores();
      if (thread == 131 && fence == Fence::of_another_thread) ptx::fence_stores();
      ptx::barrier();
      if (thread == 130 && fence == Fence::behind_the_barrier) ptx::fence_stores();
      if (thread < 128) multiply_matrix();
    });
  };
  EXPECT_EQ(stored(Fence::before_the_barrier), "none");
  for (const Fence fence :
       {Fence::nowhere, Fence::before_the_store, Fence::behind_the_barrier, Fence::of_another_thread}) {
    const std::string message = stored(fence);
    EXPECT_NE(message.find("shared memory 1024 was filled by thread 130, without fence_stores between that and the "
                           "barrier that tells of it: products and stored boxes do not see it"),
              std::string::npos)
        << message;
  }
}
TEST_F(FenceOfStores, ComesBeforeABulkCopyOverThem) {
  const auto overwritten = [](bool fences) {
    return fault([fences](const TensorMap& map) {
      if (ptx::thread_index() == 130) {
        ptx::store_shared(kMatrix, 1);
        if (fences) ptx::fence_stores();
      }
      ptx::barrier();
      copy_matrix(map);
    });
  };
  EXPECT_EQ(overwritten(true), "none");
  const std::string message = overwritten(false);
  EXPECT_NE(
      message.find("shared memory 1024 is written by a bulk copy without fence_stores after thread 130 filled it"),
      std::string::npos)
      << message;
}

}  // namespace
}  // namespace expertile::testing
