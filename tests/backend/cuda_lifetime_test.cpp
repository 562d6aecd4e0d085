// One device for all operations, which may go in any order while their work is under way.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <vector>

#include "backend/on_gpu.hpp"
#include "expertile/device.hpp"
#include "support/placed_problem.hpp"

namespace expertile::testing {
namespace {

GroupedGemm prepared(const Problem& problem) {
  return GroupedGemm::prepare(problem, {.device = "cuda", .config_dir = "/nonexistent"}).value();
}

TEST_F(OnGpu, OperationsShareOneDeviceAndOneSetOfKernels) {
  const Device device = Device::open("cuda").value();
  const RandomProblem random(combination_named("bfloat16"), 3, {.is_aligned = true});
  const GroupedGemm first = prepared(random.problem());
  const std::size_t loaded = device.loaded_kernels();
  EXPECT_GT(loaded, 0U);
  std::vector<GroupedGemm> more;
  for (int layer = 0; layer < 20; ++layer) more.push_back(prepared(random.problem()));
  EXPECT_EQ(device.loaded_kernels(), loaded);
  EXPECT_EQ(&Device::open("cuda:0").value().info(), &device.info());
}

// Two operations over their own tensors, one of which quantises, and a device that somebody holds.
class Going : public OnGpu {
 protected:
  void SetUp() override {
    OnGpu::SetUp();
    if (IsSkipped()) return;
    stream_.emplace();
    plain_.emplace(combination_named("bfloat16"), 5, Wishes{.is_aligned = true, .has_many_tiles = true});
    quantised_.emplace(combination_named("bfloat16_block"), 5, Wishes{.is_aligned = true, .is_large = true});
    on_gpu_.emplace(**gpu(), *plain_);
    quantised_on_gpu_.emplace(**gpu(), *quantised_);
    device_ = Device::open("cuda").value();
    first_ = prepared(plain_->problem());
    second_ = prepared(quantised_->problem());
  }
  void enqueue(int times) {
    for (int i = 0; i < times; ++i) {
      GroupedGemmArgs args = on_gpu_->args();
      args.stream = stream_->handle();
      ASSERT_TRUE((*first_)(args));
      args = quantised_on_gpu_->args();
      args.stream = stream_->handle();
      ASSERT_TRUE((*second_)(args));
    }
  }
  // Whoever goes when, by numbers of 0 to 2.
  void let_go(const std::vector<int>& order) {
    const std::function<void()> going[] = {[&] { first_.reset(); }, [&] { second_.reset(); }, [&] { device_.reset(); }};
    for (const int one : order) going[one]();
  }
  void expect_right() {
    ASSERT_TRUE(on_gpu_->fetch());
    ASSERT_TRUE(quantised_on_gpu_->fetch());
    for (RandomProblem* random : {&*plain_, &*quantised_}) {
      EXPECT_EQ(random->overwritten(), 0);
      const auto reference = reference_grouped_gemm(random->problem(), random->args());
      EXPECT_LE(worst_error_over_bound(random->problem(), random->args(), reference, kSumError), 1.0);
    }
  }

  static constexpr double kSumError = 4.5 * 0x1p-13;  // of e4m3 products, the most of any tile
  std::optional<TestStream> stream_;
  std::optional<RandomProblem> plain_, quantised_;
  std::optional<PlacedProblem> on_gpu_, quantised_on_gpu_;
  std::optional<Device> device_;
  std::optional<GroupedGemm> first_, second_;
};

TEST_F(Going, OperationsAndDevicesGoInAnyOrderWhileTheirWorkIsEnqueued) {
  std::vector<int> order{0, 1, 2};
  do {
    device_ = Device::open("cuda").value();
    first_ = prepared(plain_->problem());
    second_ = prepared(quantised_->problem());
    ASSERT_NO_FATAL_FAILURE(enqueue(20));
    let_go(order);
    stream_->wait();
    expect_right();
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(Going, AGraphOutlivesTheOperationsWhoseCallsItHolds) {
  std::vector<int> order{0, 1, 2};
  do {
    device_ = Device::open("cuda").value();
    first_ = prepared(plain_->problem());
    second_ = prepared(quantised_->problem());
    cuda::GraphExecHandle graph = stream_->captured([&] { enqueue(2); });
    stream_->replay(graph);
    let_go(order);
    for (int i = 0; i < 3; ++i) stream_->replay(graph);
    stream_->wait();
    stream_->destroy(graph);
    expect_right();
  } while (std::next_permutation(order.begin(), order.end()));
}

}  // namespace
}  // namespace expertile::testing
