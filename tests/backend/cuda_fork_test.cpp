// A GPU is its opener's: in a child every use of it is an error, and none hangs.

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <string>

#include "backend/on_gpu.hpp"
#include "expertile/device.hpp"
#include "support/in_child.hpp"
#include "support/placed_problem.hpp"

namespace expertile::testing {
namespace {

constexpr const char* kOpenedBefore =
    "device 'cuda:0' was opened before this process was forked; open it after, or start the process with spawn";
constexpr const char* kStartedBefore =
    "the CUDA driver was started before this process was forked; open devices after it, or start the process with "
    "spawn";

template <class Outcome>
bool is_refused(const Outcome& outcome, const std::string& line) {
  if (outcome) return false;
  if (outcome.error().message == line && outcome.error().code == ErrorCode::unsupported) return true;
  fprintf(stderr, "%s\n", outcome.error().message.c_str());  // of a child: its assertions reach nobody
  return false;
}

TEST_F(OnGpu, OpenedBeforeAForkIsRefusedInTheChild) {
  RandomProblem random(combination_named("bfloat16"), 5, {.is_aligned = true});
  const auto gemm = GroupedGemm::prepare(random.problem(), {.device = "cuda", .config_dir = "/nonexistent"});
  ASSERT_TRUE(gemm) << gemm.error().message;
  const Device device = Device::open("cuda").value();
  const std::shared_ptr<const Backend> backend = gpu().value();
  PlacedProblem placed(*backend, random);
  ASSERT_TRUE((*gemm)(placed.args()));
  EXPECT_TRUE(in_child([&] { return is_refused((*gemm)(placed.args()), kOpenedBefore); }));
  EXPECT_TRUE(in_child([&] { return is_refused(backend->synchronise(), kOpenedBefore); }));
  EXPECT_TRUE(in_child([&] { return is_refused(backend->allocate(16), kOpenedBefore); }));
  EXPECT_TRUE(in_child(
      [&] { return is_refused(placed.run(gpu_tiles(random.problem(), backend->info()).front()), kOpenedBefore); }));
  EXPECT_TRUE(in_child([&] { return device.loaded_kernels() == 0; }));
  for (const char* name : {"cuda:0", "cuda:1", "auto"}) {
    EXPECT_TRUE(in_child([&] { return is_refused(Device::open(name), kStartedBefore); })) << name;
    EXPECT_TRUE(in_child([&] { return is_refused(describe_device(name), kStartedBefore); })) << name;
  }
  EXPECT_TRUE(in_child([] { return Device::open("cpu").has_value(); }));
  EXPECT_GT(device.loaded_kernels(), 0U);
  EXPECT_TRUE((*gemm)(placed.args())) << "the parent goes on";
  EXPECT_TRUE(backend->synchronise());
}

}  // namespace
}  // namespace expertile::testing
