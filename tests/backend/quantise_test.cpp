// Quantising A within a call on a CPU: by the threads that were asked for, in the call's workspace.

#include <gtest/gtest.h>
#include <omp.h>

#include <filesystem>
#include <thread>

#include "backend/backend.hpp"
#include "backend/reference.hpp"
#include "support/placed_problem.hpp"
#include "support/random_problem.hpp"

namespace expertile {
namespace {

using testing::all_combinations;
using testing::Combination;
using testing::RandomProblem;

Combination quantised() {
  for (const Combination& one : all_combinations()) {
    if (one.name == "bfloat16_block") return one;
  }
  return {};
}

std::ptrdiff_t threads_now() {
  std::ptrdiff_t count = 0;
  for ([[maybe_unused]] const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) ++count;
  return count;
}

TEST(QuantisingCalls, StartNoMoreThreadsThanTheyWereGiven) {
  const auto backend = open_backend("cpu", 1);
  ASSERT_TRUE(backend);
  RandomProblem random(quantised(), 5, {.is_aligned = true, .is_large = true});
  // A new thread's first parallel loop starts the threads that it asks for; they stay as long as it does.
  std::thread([&] {
    omp_set_num_threads(8);
    const auto before = threads_now();
    const auto status = testing::run_tile(**backend, random.problem(), random.tile(), random.args());
    EXPECT_TRUE(status) << status.error().message;
    EXPECT_EQ(threads_now(), before);
  }).join();
}

TEST(QuantisingCalls, WithoutEnoughWorkspaceAreAnErrorOnACpuAsOnAGpu) {
  const auto backend = open_backend("cpu", 2);
  ASSERT_TRUE(backend);
  RandomProblem random(quantised(), 5, {.is_aligned = true});
  GroupedGemmArgs args = random.args();
  const std::size_t needed = (*backend)->workspace_bytes(random.problem(), args.a.rows);
  ASSERT_EQ(args.workspace.size(), needed);
  ASSERT_GT(needed, static_cast<std::size_t>(args.a.rows * random.problem().k));
  args.workspace = {};
  auto status = testing::run_tile(**backend, random.problem(), random.tile(), args);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(status.error().message, "workspace has 0 bytes at address 0x0, quantising " + std::to_string(args.a.rows) +
                                        " rows of A needs " + std::to_string(needed) + " bytes aligned to 16");
  EXPECT_EQ(random.overwritten(), 0);
  args.workspace = random.args().workspace.first(needed - 1);
  status = testing::run_tile(**backend, random.problem(), random.tile(), args);
  ASSERT_FALSE(status);
}

TEST(QuantisingCalls, WriteNothingBehindTheirWorkspace) {
  const auto backend = open_backend("cpu", 2);
  ASSERT_TRUE(backend);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    RandomProblem random(quantised(), seed);
    GroupedGemmArgs args = random.args();
    std::vector<std::byte> memory(args.workspace.size() + 64, std::byte{0x5a});
    args.workspace = std::span(memory).first(args.workspace.size());
    ASSERT_TRUE(testing::run_tile(**backend, random.problem(), random.tile(), args)) << random.describe();
    for (std::size_t i = args.workspace.size(); i < memory.size(); ++i) ASSERT_EQ(memory[i], std::byte{0x5a});
    EXPECT_LE(worst_error_over_bound(random.problem(), args, reference_grouped_gemm(random.problem(), args)), 1.0)
        << random.describe();
  }
}

}  // namespace
}  // namespace expertile
