// Programs that fork: a child multiplies as its parent did, whatever the parent's other threads were at.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "backend/backend.hpp"
#include "expertile/grouped_gemm.hpp"
#include "support/in_child.hpp"

namespace expertile::testing {
namespace {

constexpr Problem kProblem{.experts = 2, .n = 64, .k = 32, .dtype = DType::float32};
constexpr int kThreads = 2;
constexpr int kForks = 30;

GroupedGemm prepared(const Problem& problem = kProblem) {
  return GroupedGemm::prepare(problem, {.device = "cpu", .threads = kThreads, .config_dir = "/nonexistent"}).value();
}

// A call of several tiles for each thread, and whether what came of it is right.
bool multiplies(const GroupedGemm& gemm) {
  constexpr std::int64_t kRows = 300;
  const std::vector<float> a(kRows * 32, 1.0F);
  const std::vector<float> b(2 * 64 * 32, 2.0F);
  std::vector<float> c(kRows * 64, -1.0F);
  const std::vector<std::int64_t> segments{0, 100, kRows};
  const std::vector<std::int64_t> experts{1, 0};
  const Status status = gemm({.a = view(a.data(), kRows, 32),
                              .b = view(b.data(), 2 * 64, 32),
                              .c = view(c.data(), kRows, 64),
                              .seg_indptr = segments,
                              .weight_indices = experts});
  return status && std::all_of(c.begin(), c.end(), [](float value) { return value == 64.0F; });
}

bool quantises() {
  const std::vector<float> a(64 * 32, 127.0F);
  std::vector<std::int8_t> out(64 * 32);
  std::vector<float> scales(64);
  const Status status = quantise_rows(view(a.data(), 64, 32), 0, view(out.data(), 64, 32), scales);
  return status && std::all_of(out.begin(), out.end(), [](std::int8_t value) { return value == 127; });
}

// A thread that does something again and again for as long as this lives.
class Meanwhile {
 public:
  template <class Work>
  explicit Meanwhile(Work work)
      : thread_([this, work] {
          while (!is_over_) work();
        }) {}
  ~Meanwhile() {
    is_over_ = true;
    thread_.join();
  }
  Meanwhile(const Meanwhile&) = delete;
  Meanwhile& operator=(const Meanwhile&) = delete;

 private:
  std::atomic<bool> is_over_{false};
  std::thread thread_;
};

TEST(Fork, AChildMultipliesAsItsParentDid) {
  const GroupedGemm gemm = prepared();
  ASSERT_TRUE(multiplies(gemm));
  EXPECT_TRUE(in_child([&] { return multiplies(gemm); }));
  EXPECT_TRUE(multiplies(gemm)) << "the parent goes on";
}

TEST(Fork, AChildOfAChildDoesToo) {
  const GroupedGemm gemm = prepared();
  ASSERT_TRUE(multiplies(gemm));
  EXPECT_TRUE(in_child([&] { return multiplies(gemm) && in_child([&] { return multiplies(gemm); }); }));
}

TEST(Fork, AChildOfAThreadThatIsNotMainDoesToo) {
  const GroupedGemm gemm = prepared();
  ASSERT_TRUE(multiplies(gemm));
  std::thread([&] { EXPECT_TRUE(in_child([&] { return multiplies(gemm); })) << "only main has multiplied"; }).join();
  std::thread([&] {
    EXPECT_TRUE(multiplies(gemm));
    EXPECT_TRUE(in_child([&] { return multiplies(gemm); }));
  }).join();
}

TEST(Fork, WhatTheParentHasPreparedTheChildCalls) {
  const GroupedGemm gemm = prepared();
  EXPECT_TRUE(in_child([&] { return multiplies(gemm); }));
}

TEST(Fork, AChildPreparesAndQuantises) {
  ASSERT_TRUE(multiplies(prepared()));
  ASSERT_TRUE(quantises());
  EXPECT_TRUE(in_child([] { return multiplies(prepared()) && quantises(); }));
}

TEST(Fork, WhileAnotherThreadIsInACall) {
  const GroupedGemm gemm = prepared();
  const Meanwhile calls([&] { EXPECT_TRUE(multiplies(gemm)); });
  for (int i = 0; i < kForks && !HasFailure(); ++i) {
    ASSERT_TRUE(multiplies(gemm));
    EXPECT_TRUE(in_child([&] { return multiplies(gemm); }));
  }
}

// Devices that are opened and lines that are logged for the first time, both under locks.
TEST(Fork, WhileAnotherThreadOpensDevicesAndLogs) {
  ::testing::internal::CaptureStderr();
  {
    int seen = 0;
    const Meanwhile openings([&] {
      ++seen;
      EXPECT_TRUE(open_backend("cpu", 1 + seen % 4000));
      Problem other = kProblem;
      other.n = 64 * seen;
      static_cast<void>(prepared(other));
    });
    for (int i = 0; i < kForks && !HasFailure(); ++i) {
      EXPECT_TRUE(in_child([i] {
        Problem other = kProblem;
        other.top_k = 1;
        other.k = 32 * (i + 1);
        static_cast<void>(prepared(other));
        return multiplies(prepared());
      }));
    }
  }
  static_cast<void>(::testing::internal::GetCapturedStderr());
}

}  // namespace
}  // namespace expertile::testing
