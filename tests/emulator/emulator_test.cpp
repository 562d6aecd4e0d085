// The device text of the GPU families, run on the host: right on every dtype and scale granularity, and the
// emulator itself stops every fault that is planted.

#include "emulator/emulator.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <ptx.hpp>  // the emulator's
#include <set>

#include "backend/backend.hpp"
#include "backend/reference.hpp"
#include "emulator/run_emulated.hpp"
#include "plan/candidates.hpp"
#include "support/placed_problem.hpp"

namespace expertile::testing {
namespace {

constexpr std::size_t kProblemsPerKernel = 11;
constexpr std::size_t kProblemsPerCombination = 50;

// Fresh problems for every kernel, the last of them large if wished.
void expect_agreement(const Combination& combination, const std::vector<EmulatedKernel>& kernels, std::size_t large) {
  ASSERT_FALSE(kernels.empty());
  const std::size_t each = std::max(kProblemsPerKernel, kProblemsPerCombination / kernels.size() + 1);
  std::uint64_t problems = 0;
  for (const EmulatedKernel& kernel : kernels) {
    for (std::size_t i = 0; i < each; ++i, ++problems) {
      RandomProblem random = random_problem(combination, kernel.spec, problems, i >= each - large);
      const GroupedGemmArgs args = random.args();
      const auto status = run_emulated(kernel, random.problem(), args);
      const std::string what = random.describe() + " on " + describe(kernel.spec.tile);
      ASSERT_TRUE(status) << status.error().message << "\n" << what;
      ASSERT_EQ(random.overwritten(), 0) << what;
      ASSERT_LE(worst_error_over_bound(random.problem(), args, reference_grouped_gemm(random.problem(), args)), 1.0)
          << what;
    }
  }
}

// Every product's kernels of each family write every type of C.
TEST(EmulatedKernels, WriteEveryTypeOfEveryProductInEachFamily) {
  std::map<std::pair<KernelFamily, Product>, std::set<Storage>> types;
  for (const EmulatedKernel& kernel : all_emulated_kernels()) {
    types[{kernel.spec.tile.kernel, kernel.spec.product}].insert(kernel.spec.c);
  }
  EXPECT_EQ(types.size(), 16U);  // eight products, two families
  for (const auto& [which, written] : types) {
    EXPECT_EQ(written.size(), 3U) << describe(TileConfig{.kernel = which.first}) << " product "
                                  << static_cast<int>(which.second);
  }
}

class EveryCombinationEmulated : public ::testing::TestWithParam<Combination> {};

TEST_P(EveryCombinationEmulated, AgreesWithTheReferenceOnRaggedProblems) {
  expect_agreement(GetParam(), kernels_for(GetParam()), 0);
}

INSTANTIATE_TEST_SUITE_P(, EveryCombinationEmulated, ::testing::ValuesIn(all_combinations()),
                         [](const auto& entry) { return entry.param.name; });

std::vector<Combination> hopper_combinations() {
  auto all = all_combinations();
  std::erase_if(all, [](const Combination& one) { return kernels_for(one, KernelFamily::sm90).empty(); });
  return all;
}

class EveryHopperCombinationEmulated : public ::testing::TestWithParam<Combination> {};

TEST_P(EveryHopperCombinationEmulated, AgreesWithTheReferenceOnRaggedProblems) {
  expect_agreement(GetParam(), kernels_for(GetParam(), KernelFamily::sm90), 3);
}

INSTANTIATE_TEST_SUITE_P(, EveryHopperCombinationEmulated, ::testing::ValuesIn(hopper_combinations()),
                         [](const auto& entry) { return entry.param.name; });

TEST(Emulated, ASplitKWithoutItsLastPartIsCaught) {
  // The check that the combinations are judged by must notice a missing product.
  const auto kernels = kernels_for(combination_named("float16"));
  RandomProblem random = random_problem(combination_named("float16"), kernels[0].spec, 3);
  const GroupedGemmArgs args = random.args();
  ASSERT_TRUE(run_emulated(kernels[0], random.problem(), args));
  auto* c = static_cast<std::byte*>(args.c.data);
  const std::int64_t row = random.segments.back() - 1;
  ASSERT_GE(row, 0);
  store_element(args.c.type, 1e4F, c, row * args.c.pitch);
  EXPECT_GT(worst_error_over_bound(random.problem(), args, reference_grouped_gemm(random.problem(), args)), 1.0);
}

TEST(Emulated, Tf32ThatIsCutOffInsteadOfRoundedIsCaught) {
  // All operands are a little less than a number of tf32, so that cutting off errs most.
  const Combination combination = combination_named("tf32");
  const auto kernels = kernels_for(combination, KernelFamily::sm90);
  int judged = 0;
  for (const EmulatedKernel& kernel : kernels) {
    if (kernel.spec.c != Storage::float32) continue;  // it would round the error away
    ++judged;
    for (const bool copies_round : {true, false}) {
      RandomProblem random = random_problem(combination, kernel.spec, 0);
      const GroupedGemmArgs args = random.args();
      for (const ConstMatrixView& m : {args.a, args.b}) {
        for (std::int64_t i = 0; i < m.rows * m.pitch; ++i) {
          store_element(m.type, std::bit_cast<float>(0x3f801fffU), const_cast<void*>(m.data), i);
        }
      }
      const auto status = multiply_emulated(kernel, random.problem(), args, copies_round);
      ASSERT_TRUE(status) << status.error().message;
      const double error =
          worst_error_over_bound(random.problem(), args, reference_grouped_gemm(random.problem(), args));
      EXPECT_EQ(error > 1.0, !copies_round) << error << ": " << random.describe();
    }
  }
  EXPECT_GE(judged, 5);
}

TEST(EmulatedAndGpu, AgreeToTheLastBitForInt8) {
  const auto gpu = open_backend("cuda");
  if (!gpu) GTEST_SKIP() << gpu.error().message;
  const Combination combination = combination_named("int8_w8a8_per_token_channel");
  for (const EmulatedKernel& kernel : kernels_for(combination)) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      RandomProblem emulated = random_problem(combination, kernel.spec, seed);
      RandomProblem real = random_problem(combination, kernel.spec, seed);
      ASSERT_TRUE(run_emulated(kernel, emulated.problem(), emulated.args()));
      PlacedProblem placed(**gpu, real);
      const auto status = placed.run(kernel.spec.tile);
      ASSERT_TRUE(status) << status.error().message;
      const ConstMatrixView a = emulated.args().c;
      const auto bytes = static_cast<std::size_t>(a.rows * a.pitch) * size_of(a.type);
      EXPECT_EQ(std::memcmp(a.data, real.args().c.data, bytes), 0) << real.describe();
    }
  }
}

// ---- planted faults ---------------------------------------------------------------------------------------------

class PlantedFault : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "AddressSanitizer does not follow exceptions on the stacks of fibers";
#endif
  }
  // The emulator's words on a kernel of 64 threads with 1 KiB of shared memory, `in_` and `out_`.
  std::string fault(const std::function<void()>& kernel) {
    const emulator::Launch launch{.blocks = 1,
                                  .threads = 64,
                                  .shared_bytes = 1024,
                                  .memory = {{"in", in_, sizeof(in_), false}, {"out", out_, sizeof(out_), true}}};
    const auto status = emulator::run(launch, kernel);
    return status ? "none" : status.error().message;
  }
  static void expect_in(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
    EXPECT_NE(text.find("emulator_test.cpp:"), std::string::npos) << text;
  }

  alignas(16) float in_[64] = {};
  alignas(16) float out_[64] = {};
};

TEST_F(PlantedFault, NoneInAKernelThatIsRight) {
  const auto message = fault([&] {
    const auto mine = static_cast<unsigned>(16 * (ptx::thread_index() % 16));
    if (ptx::thread_index() < 16) ptx::cp_async16(mine, &in_[ptx::thread_index() * 4], 16);
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>();
    ptx::barrier();
    ptx::store_global(&out_[ptx::thread_index()], ptx::load_shared<float>(mine));
  });
  EXPECT_EQ(message, "none");
}

TEST_F(PlantedFault, ReadsOutsideGlobalMemory) {
  const std::vector<float> elsewhere(1);
  expect_in(fault([&] { static_cast<void>(ptx::load_global(elsewhere.data())); }), "outside every tensor");
}
TEST_F(PlantedFault, WritesOutsideGlobalMemory) {
  expect_in(fault([&] { ptx::store_global(out_ + ptx::thread_index() + 1, 1.0F); }), "thread 63");
}
TEST_F(PlantedFault, ReadsAnOutput) {
  expect_in(fault([&] { static_cast<void>(ptx::load_global(out_)); }), "reads byte 0 of out");
}
TEST_F(PlantedFault, WritesTheSameOutputTwice) {
  expect_in(fault([&] { ptx::store_global(out_ + ptx::thread_index() / 2, 1.0F); }), "written a second time");
}
TEST_F(PlantedFault, MisalignedGlobalAccess) {
  const auto* bytes = reinterpret_cast<const char*>(in_);
  expect_in(fault([&] { static_cast<void>(ptx::load_global(reinterpret_cast<const ptx::Bytes16*>(bytes + 4))); }),
            "not aligned to 16");
}
TEST_F(PlantedFault, OutsideSharedMemory) {
  expect_in(fault([&] { ptx::store_shared(static_cast<unsigned>(1024 + 4 * ptx::thread_index()), 1.0F); }),
            "thread 0, emulator_test.cpp");
}
TEST_F(PlantedFault, MisalignedSharedAccess) {
  expect_in(fault([&] { ptx::store_shared(8U, ptx::Bytes16{}); }), "shared memory 8 is not aligned to 16");
}
TEST_F(PlantedFault, ReadsSharedMemoryThatNothingFilled) {
  expect_in(fault([&] { static_cast<void>(ptx::load_shared<int>(64)); }), "shared memory 64 is read, and nothing");
}
TEST_F(PlantedFault, ReadsACopyThatWasNotWaitedFor) {
  expect_in(fault([&] {
              if (ptx::thread_index() == 0) ptx::cp_async16(0, in_, 16);
              ptx::cp_async_commit();
              ptx::cp_async_wait<1>();  // one group may still be under way: too few waits
              ptx::barrier();
              static_cast<void>(ptx::load_shared<int>(0));
              ptx::cp_async_wait<0>();
            }),
            "before thread 0 has waited for its copy");
}
TEST_F(PlantedFault, ReadsWithoutABarrier) {
  expect_in(fault([&] {
              const auto mine = static_cast<unsigned>(4 * ptx::thread_index());
              ptx::store_shared(mine, 1);
              if (mine > 0) static_cast<void>(ptx::load_shared<int>(mine - 4));
              ptx::barrier();
            }),
            "without a barrier after thread");
}
TEST_F(PlantedFault, OverwritesWhatOthersStillRead) {
  expect_in(fault([&] {
              const auto mine = static_cast<unsigned>(4 * ptx::thread_index());
              ptx::store_shared(mine, 1);
              ptx::barrier();
              static_cast<void>(ptx::load_shared<int>(0));
              ptx::store_shared(mine, 2);
            }),
            "is written without a barrier after several threads read it");
}
TEST_F(PlantedFault, StartsACopyOverWhatOthersStillRead) {
  expect_in(fault([&] {
              ptx::store_shared(static_cast<unsigned>(4 * ptx::thread_index()), 1);
              ptx::barrier();
              static_cast<void>(ptx::load_shared<int>(0));
              if (ptx::thread_index() == 40) ptx::cp_async16(0, in_, 16);
              ptx::cp_async_commit();
              ptx::cp_async_wait<0>();
            }),
            "without a barrier after");
}
TEST_F(PlantedFault, ABarrierThatNotAllReach) {
  const std::string message = fault([&] {
    if (ptx::thread_index() < 32) ptx::barrier();
  });
  expect_in(message, "deadlock");
  EXPECT_NE(message.find("thread 32 has ended"), std::string::npos) << message;
}
TEST_F(PlantedFault, TwoDifferentBarriers) {
  expect_in(fault([&] {
              if (ptx::thread_index() < 32) {
                ptx::barrier();
              } else {
                ptx::barrier();
              }
            }),
            "while others wait in the one at");
}
TEST_F(PlantedFault, AWarpOperationThatNotAllLanesReach) {
  expect_in(fault([&] {
              if (ptx::thread_index() % 32 != 5) static_cast<void>(ptx::shuffle(1, 0));
            }),
            "waits in shuffle");
}
TEST_F(PlantedFault, LanesInDifferentWarpOperations) {
  expect_in(fault([&] {
              if (ptx::thread_index() % 2 == 0) {
                static_cast<void>(ptx::shuffle(1, 0));
              } else {
                static_cast<void>(ptx::shuffle_up(1, 1));
              }
            }),
            "calls shuffle_up while others of its warp wait in shuffle");
}
TEST_F(PlantedFault, EndsWithCopiesUnderWay) {
  const std::string message = fault([&] {
    ptx::cp_async16(static_cast<unsigned>(16 * ptx::thread_index()), in_, 16);
    ptx::cp_async_commit();
  });
  EXPECT_NE(message.find("ended with copies under way"), std::string::npos) << message;
}

}  // namespace
}  // namespace expertile::testing
