// Handles of expertile.h: what is refused, what is reused, and many threads with handles of their own.

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "capi/c_calls.hpp"
#include "store/temporary_directory.hpp"

namespace expertile::testing {
namespace {

expertile_status ask(const expertile_problem* problem) {
  auto desc = sized<expertile_problem_desc>();
  return expertile_problem_describe(problem, &desc);
}

TEST(HandlesOfC, AreRefusedOnceTheyWereDestroyed) {
  expertile_problem* problem = made(kSmallLayer).release();
  EXPECT_EQ(ask(problem), EXPERTILE_OK);
  EXPECT_EQ(expertile_problem_destroy(problem), EXPERTILE_OK);
  EXPECT_EQ(ask(problem), EXPERTILE_INVALID_ARGUMENT);
  EXPECT_NE(std::string(expertile_last_error()).find("was destroyed"), std::string::npos) << expertile_last_error();
  EXPECT_EQ(expertile_problem_destroy(problem), EXPERTILE_INVALID_ARGUMENT);
}

TEST(HandlesOfC, MayBeNullWhereTheyAreDestroyedAndNowhereElse) {
  EXPECT_EQ(expertile_problem_destroy(nullptr), EXPERTILE_OK);
  EXPECT_EQ(expertile_device_destroy(nullptr), EXPERTILE_OK);
  EXPECT_EQ(expertile_operation_destroy(nullptr), EXPERTILE_OK);
  EXPECT_EQ(ask(nullptr), EXPERTILE_INVALID_ARGUMENT);
}

TEST(HandlesOfC, OfAnotherKindAreRefused) {
  const ProblemHandle problem = made(kSmallLayer);
  const DeviceHandle device = opened("cpu", 1);
  EXPECT_EQ(ask(reinterpret_cast<const expertile_problem*>(device.get())), EXPERTILE_INVALID_ARGUMENT);
  EXPECT_EQ(expertile_operation_destroy(reinterpret_cast<expertile_operation*>(problem.get())),
            EXPERTILE_INVALID_ARGUMENT);
  EXPECT_EQ(ask(problem.get()), EXPERTILE_OK) << "it was not destroyed as another kind";
}

TEST(HandlesOfC, ThatNoFunctionMadeAreRefusedWhateverTheirBits) {
  const ProblemHandle problem = made(kSmallLayer);
  const auto right = reinterpret_cast<std::uintptr_t>(problem.get());
  for (unsigned bit = 0; bit < 64; ++bit) {
    const auto wrong = reinterpret_cast<expertile_problem*>(right ^ (std::uintptr_t{1} << bit));
    EXPECT_EQ(ask(wrong), EXPERTILE_INVALID_ARGUMENT) << bit;
    EXPECT_EQ(expertile_problem_destroy(wrong), EXPERTILE_INVALID_ARGUMENT) << bit;
  }
  int on_the_stack = 0;
  EXPECT_EQ(ask(reinterpret_cast<expertile_problem*>(&on_the_stack)), EXPERTILE_INVALID_ARGUMENT);
  EXPECT_EQ(ask(reinterpret_cast<expertile_problem*>(~std::uintptr_t{0})), EXPERTILE_INVALID_ARGUMENT);
}

TEST(HandlesOfC, MayBeDestroyedInAnyOrder) {
  const TemporaryDirectory directory;
  ProblemHandle problem = made(kSmallLayer);
  const OperationHandle gemm = prepared(problem.get(), directory.path());  // its device is gone already
  problem.reset();
  auto desc = sized<expertile_problem_desc>();
  ASSERT_EQ(expertile_operation_describe(gemm.get(), &desc), EXPERTILE_OK) << expertile_last_error();
  EXPECT_EQ(desc.n, 16);
}

TEST(HandlesOfC, TakeTheMemoryOfThoseThatWereDestroyedAndOldOnesStayRefused) {
  std::vector<expertile_problem*> old;
  const auto create_and_destroy = [&](int times) {
    for (int i = 0; i < times; ++i) {
      old.push_back(made(kSmallLayer).release());
      ASSERT_EQ(expertile_problem_destroy(old.back()), EXPERTILE_OK);
    }
  };
  old.reserve(200000);
  create_and_destroy(2000);  // every slot of the first that are added was used
  const std::size_t before = ::mallinfo2().uordblks;
  create_and_destroy(100000);
  EXPECT_LT(::mallinfo2().uordblks, before + 64 * 1024);
  const ProblemHandle living = made(kSmallLayer);
  for (const expertile_problem* one : old) ASSERT_EQ(ask(one), EXPERTILE_INVALID_ARGUMENT);
  EXPECT_EQ(ask(living.get()), EXPERTILE_OK);
}

// One thread's life with C: its own handles, and one wrong call whose line it must find again.
void prepare_call_and_destroy(const std::string& config_dir, int thread, std::string& went_wrong) {
  const std::vector<float> a(32, static_cast<float>(thread + 1));
  const std::vector<float> b(2 * 16 * 32, 1.0F);
  const std::vector<std::int64_t> segments{0, 1};
  const std::vector<std::int64_t> experts{1};
  for (int round = 0; round < 50 && went_wrong.empty(); ++round) {
    expertile_problem_desc desc = kSmallLayer;
    desc.experts = -1 - thread;
    expertile_problem* problem = nullptr;
    expertile_operation* gemm = nullptr;
    expertile_problem_create(&desc, &problem);
    const std::string line = expertile_last_error();
    desc.experts = 2;
    expertile_device* device = nullptr;
    expertile_device_open("cpu", 1, &device);
    const expertile_prepare_options options{.size = sizeof options,
                                            .device = device,
                                            .config_dir = config_dir.c_str(),
                                            .c_element = 0,
                                            .reserved = 0,
                                            .row_layout = 0,
                                            .reserved_2 = 0};
    std::vector<float> c(16);
    const expertile_grouped_gemm_args args = args_of({.a = view(a.data(), 1, 32),
                                                      .b = view(b.data(), 32, 32),
                                                      .c = view(c.data(), 1, 16),
                                                      .seg_indptr = segments,
                                                      .weight_indices = experts});
    const bool is_good = expertile_problem_create(&desc, &problem) == EXPERTILE_OK &&
                         expertile_prepare(problem, &options, &gemm) == EXPERTILE_OK &&
                         expertile_run(gemm, &args) == EXPERTILE_OK;
    if (!is_good) went_wrong = expertile_last_error();
    if (c != std::vector<float>(16, 32.0F * static_cast<float>(thread + 1))) went_wrong += " a wrong product";
    if (line != "experts is " + std::to_string(-1 - thread) + ", it must be from 1 to 2147483648") went_wrong += line;
    if (line != expertile_last_error()) went_wrong += " the line changed";
    expertile_operation_destroy(gemm);
    expertile_device_destroy(device);
    expertile_problem_destroy(problem);
  }
}

TEST(HandlesOfC, OfEightThreadsAtOnceAreEachTheirOwnAndSoIsTheLastError) {
  const TemporaryDirectory directory;
  std::vector<std::string> went_wrong(8);
  std::vector<std::thread> threads;
  const ProblemHandle problem = made(kSmallLayer);
  static_cast<void>(prepared(problem.get(), directory.path()));  // logs, once
  ::testing::internal::CaptureStderr();
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back(
        [&, i] { prepare_call_and_destroy(directory.path(), i, went_wrong[static_cast<std::size_t>(i)]); });
  }
  for (std::thread& thread : threads) thread.join();
  static_cast<void>(::testing::internal::GetCapturedStderr());
  EXPECT_EQ(went_wrong, std::vector<std::string>(8));
}

// Exit status 0 where a child that was forked here and now can make and destroy handles, and ask the parent's.
int outcome_of_a_child(const expertile_problem* of_the_parent) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    expertile_problem* problem = nullptr;
    const bool is_good = expertile_problem_create(&kSmallLayer, &problem) == EXPERTILE_OK &&
                         ask(problem) == EXPERTILE_OK && ask(of_the_parent) == EXPERTILE_OK &&
                         expertile_problem_destroy(problem) == EXPERTILE_OK;
    ::_exit(is_good ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(HandlesOfC, OfAParentThatForksAreItsChildsTooWhateverOtherThreadsDo) {
  const ProblemHandle problem = made(kSmallLayer);
  std::atomic<bool> is_over{false};
  std::vector<std::thread> others;
  for (int i = 0; i < 4; ++i) {
    others.emplace_back([&] {
      while (!is_over) made(kSmallLayer).reset();
    });
  }
  for (int i = 0; i < 50; ++i) EXPECT_EQ(outcome_of_a_child(problem.get()), 0) << i;
  is_over = true;
  for (std::thread& other : others) other.join();
}

TEST(LastErrorOfC, IsEmptyInAThreadWhoseCallsAllWentWell) {
  EXPECT_EQ(ask(nullptr), EXPERTILE_INVALID_ARGUMENT);
  std::string line = "none";
  std::thread([&] { line = expertile_last_error(); }).join();
  EXPECT_EQ(line, "");
  EXPECT_STREQ(expertile_last_error(), "problem is null, expertile_problem_create makes one");
  const ProblemHandle problem = made(kSmallLayer);
  EXPECT_STRNE(expertile_last_error(), "") << "a call that goes well leaves the line";
}

}  // namespace
}  // namespace expertile::testing
