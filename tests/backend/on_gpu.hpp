#pragma once
// What the tests on a real GPU share; they are skipped, visibly, where there is none.

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "backend/backend.hpp"
#include "backend/cuda/driver.hpp"
#include "backend/reference.hpp"
#include "plan/kernel_plan.hpp"
#include "support/random_problem.hpp"

namespace expertile::testing {

inline Result<std::shared_ptr<const Backend>> gpu() { return open_backend("cuda"); }

class OnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto opened = gpu(); !opened) GTEST_SKIP() << opened.error().message;
  }
};

// A stream of the GPU's primary context.
class TestStream {
 public:
  TestStream() : driver_(**cuda::driver()) {
    EXPECT_EQ(driver_.device_get(&device_, 0), cuda::kSuccess);
    EXPECT_EQ(driver_.retain_context(&context_, device_), cuda::kSuccess);
    const cuda::CurrentContext current(driver_, context_);
    EXPECT_EQ(driver_.stream_create(&stream_, 1), cuda::kSuccess);
  }
  ~TestStream() {
    {
      const cuda::CurrentContext current(driver_, context_);
      driver_.stream_destroy(stream_);
    }
    driver_.release_context(device_);
  }
  TestStream(const TestStream&) = delete;
  TestStream& operator=(const TestStream&) = delete;
  [[nodiscard]] cuda::StreamHandle handle() const { return stream_; }
  void wait() const {
    const cuda::CurrentContext current(driver_, context_);
    ASSERT_EQ(driver_.stream_synchronize(stream_), cuda::kSuccess);
  }
  // What `work` enqueues on this stream, as a graph.
  template <class Work>
  [[nodiscard]] cuda::GraphExecHandle captured(const Work& work) const {
    constexpr int kThreadLocal = 1;  // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    const cuda::CurrentContext current(driver_, context_);
    cuda::GraphHandle graph = nullptr;
    cuda::GraphExecHandle exec = nullptr;
    EXPECT_EQ(driver_.begin_capture(stream_, kThreadLocal), cuda::kSuccess);
    work();
    EXPECT_EQ(driver_.end_capture(stream_, &graph), cuda::kSuccess);
    EXPECT_EQ(driver_.instantiate_graph(&exec, graph, 0), cuda::kSuccess);
    driver_.destroy_graph(graph);
    return exec;
  }
  void replay(cuda::GraphExecHandle graph) const {
    const cuda::CurrentContext current(driver_, context_);
    ASSERT_EQ(driver_.launch_graph(graph, stream_), cuda::kSuccess);
  }
  void destroy(cuda::GraphExecHandle graph) const {
    const cuda::CurrentContext current(driver_, context_);
    driver_.destroy_graph_exec(graph);
  }

 private:
  const cuda::Driver& driver_;
  cuda::DeviceHandle device_ = 0;
  cuda::ContextHandle context_ = nullptr;
  cuda::StreamHandle stream_ = nullptr;
};

}  // namespace expertile::testing
