// The operation on a real GPU; skipped, visibly, where there is none.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <thread>

#include "backend/on_gpu.hpp"
#include "plan/candidates.hpp"
#include "plan/launch_plan.hpp"
#include "store/config_file.hpp"
#include "store/temporary_directory.hpp"
#include "support/placed_problem.hpp"

namespace expertile::testing {
namespace {

constexpr int kFewProblems = 8;

class EveryCombinationOnGpu : public ::testing::TestWithParam<Combination> {
 protected:
  void SetUp() override {
    if (const auto opened = gpu(); !opened) GTEST_SKIP() << opened.error().message;
  }
  // Every tile in turn on fresh random problems.
  static void expect_right(const Wishes& wishes, int problems) {
    const auto opened = gpu();
    const Backend& backend = **opened;
    if (std::getenv("EXPERTILE_FEW_PROBLEMS") != nullptr) problems = kFewProblems;  // scripts/sanitize_gpu.sh
    for (int seed = 0; seed < problems; ++seed) {
      RandomProblem random(GetParam(), static_cast<std::uint64_t>(seed), wishes);
      const auto tiles = gpu_tiles(random.problem(), backend.info());
      ASSERT_FALSE(tiles.empty());
      static_cast<void>(
          backend.plan(random.problem(), tiles, {types_of(random.args())}, SlowKernels::refused));  // in parallel, once
      // Few problems take tiles from the whole list, too.
      const auto step = std::max<std::size_t>(1, tiles.size() / static_cast<std::size_t>(problems));
      const TileConfig& tile = tiles[static_cast<std::size_t>(seed) * step % tiles.size()];
      PlacedProblem placed(backend, random);
      const auto status = placed.run(tile);
      ASSERT_TRUE(status) << status.error().message << " " << expertile::describe(tile);
      const GroupedGemmArgs args = random.args();
      ASSERT_EQ(random.overwritten(), 0) << random.describe() << " " << expertile::describe(tile);
      const auto reference = reference_grouped_gemm(random.problem(), args);
      ASSERT_LE(worst_error_over_bound(random.problem(), args, reference, sum_error(random.problem(), tile)), 1.0)
          << "seed " << seed << " " << random.describe() << " " << expertile::describe(tile);
    }
  }
};

TEST_P(EveryCombinationOnGpu, AgreesWithTheReferenceOnAlignedProblems) {
  expect_right({.is_aligned = true, .is_large = false, .block_shape = BlockShape{64, 32}}, 48);
  expect_right({.is_aligned = true, .is_large = true, .block_shape = BlockShape{128, 128}}, 16);
}

TEST_P(EveryCombinationOnGpu, AgreesWithTheReferenceOnUnalignedProblems) {
  expect_right({.is_aligned = false, .is_large = false, .block_shape = BlockShape{7, 13}}, 48);
  expect_right({.is_aligned = false, .is_large = true, .block_shape = BlockShape{128, 128}}, 16);
}

INSTANTIATE_TEST_SUITE_P(, EveryCombinationOnGpu, ::testing::ValuesIn(all_combinations()),
                         [](const auto& entry) { return entry.param.name; });

TEST_F(OnGpu, APreparedCallCostsTheHostLittle) {
  RandomProblem random(combination_named("bfloat16"), 3, {.is_aligned = true});
  PlacedProblem placed(**gpu(), random);
  const auto gemm = GroupedGemm::prepare(random.problem(), {.device = "cuda", .config_dir = "/nonexistent"});
  ASSERT_TRUE(gemm) << gemm.error().message;
  constexpr int kCalls = 200;
  double best_us = HUGE_VAL;
  for (int repeat = 0; repeat < 20; ++repeat) {
    ASSERT_TRUE((*gpu())->synchronise());
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) ASSERT_TRUE((*gemm)(placed.args()));
    const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - begin;
    best_us = std::min(best_us, taken.count() / kCalls);
  }
  RecordProperty("microseconds_a_call", std::to_string(best_us));
  EXPECT_LT(best_us, 5.0);
}

TEST_F(OnGpu, ThreadsShareOnePreparedOperation) {
  RandomProblem random(combination_named("float16"), 5, {.is_aligned = true, .is_large = true});
  const auto gemm = GroupedGemm::prepare(random.problem(), {.device = "cuda", .config_dir = "/nonexistent"});
  ASSERT_TRUE(gemm) << gemm.error().message;
  std::vector<std::jthread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      RandomProblem own(combination_named("float16"), 5, {.is_aligned = true, .is_large = true});
      PlacedProblem placed(**gpu(), own);
      for (int i = 0; i < 50; ++i) wrong += (*gemm)(placed.args()) ? 0 : 1;
      const auto status = placed.run(gpu_tiles(own.problem(), (*gpu())->info()).front());
      const GroupedGemmArgs args = own.args();
      if (!status || worst_error_over_bound(own.problem(), args, reference_grouped_gemm(own.problem(), args)) > 1) {
        ++wrong;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong.load(), 0);
}

TEST_F(OnGpu, SeveralDevicesWorkSideBySideAndKeepTheirPointersApart) {
  const auto other = open_backend("cuda:1");
  if (!other) GTEST_SKIP() << "one GPU is here: " << other.error().message;
  const Backend* const backends[] = {(*gpu()).get(), other->get()};
  const char* const names[] = {"cuda:0", "cuda:1"};
  std::atomic<int> wrong{0};
  std::vector<std::jthread> threads;
  for (std::size_t d = 0; d < 2; ++d) {
    threads.emplace_back([&, d] {
      RandomProblem random(combination_named("bfloat16"), 11 + d, {.is_aligned = true, .is_large = true});
      const auto gemm = GroupedGemm::prepare(random.problem(), {.device = names[d], .config_dir = "/nonexistent"});
      PlacedProblem placed(*backends[d], random);
      for (int i = 0; i < 20; ++i) wrong += gemm && (*gemm)(placed.args()) ? 0 : 1;
      if (!backends[d]->synchronise() || !placed.fetch()) ++wrong;
      const GroupedGemmArgs args = random.args();
      if (worst_error_over_bound(random.problem(), args, reference_grouped_gemm(random.problem(), args)) > 1) ++wrong;
    });
  }
  threads.clear();
  EXPECT_EQ(wrong.load(), 0);

  RandomProblem random(combination_named("bfloat16"), 3, {.is_aligned = true});
  const auto gemm = GroupedGemm::prepare(random.problem(), {.device = "cuda:0", .config_dir = "/nonexistent"});
  ASSERT_TRUE(gemm) << gemm.error().message;
  PlacedProblem on_first(*backends[0], random);
  PlacedProblem on_second(*backends[1], random);
  const auto status = (*gemm)(on_second.args());
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("is in the memory of GPU 1, the operation was prepared for GPU 0"),
            std::string::npos)
      << status.error().message;
  const auto driver = cuda::driver();
  ASSERT_TRUE(driver);
  cuda::ContextHandle context = nullptr;
  cuda::StreamHandle stream = nullptr;
  cuda::DeviceHandle second = 0;
  ASSERT_EQ((*driver)->device_get(&second, 1), cuda::kSuccess);
  ASSERT_EQ((*driver)->retain_context(&context, second), cuda::kSuccess);
  {
    const cuda::CurrentContext current(**driver, context);
    ASSERT_EQ((*driver)->stream_create(&stream, 1), cuda::kSuccess);
  }
  GroupedGemmArgs args = on_first.args();
  args.stream = stream;
  const auto on_strange_stream = (*gemm)(args);
  ASSERT_FALSE(on_strange_stream);
  EXPECT_NE(on_strange_stream.error().message.find("is not one of"), std::string::npos);
  (*driver)->stream_destroy(stream);
  (*driver)->release_context(second);
  EXPECT_TRUE((*gemm)(on_first.args()));
}

TEST_F(OnGpu, BadArgumentsAreOneLineAndTheDeviceStaysUsable) {
  RandomProblem random(combination_named("float16"), 5, {.is_aligned = true});
  PlacedProblem placed(**gpu(), random);
  const auto gemm = GroupedGemm::prepare(random.problem(), {.device = "cuda", .config_dir = "/nonexistent"});
  ASSERT_TRUE(gemm) << gemm.error().message;
  const auto message = [&](const std::function<void(GroupedGemmArgs&)>& spoil) {
    GroupedGemmArgs args = placed.args();
    spoil(args);
    const auto status = (*gemm)(args);
    return status ? std::string() : status.error().message;
  };
  EXPECT_NE(message([&](auto& args) { args.a = random.args().a; }).find("A at "), std::string::npos);
  EXPECT_NE(message([&](auto& args) { args.c = random.args().c; }).find("C at "), std::string::npos);
  EXPECT_NE(message([&](auto& args) { args.seg_indptr = random.segments; }).find("seg_indptr at "), std::string::npos);
  EXPECT_NE(message([&](auto& args) { args.a.data = static_cast<const char*>(args.a.data) + 1; }).find("not aligned"),
            std::string::npos);
  EXPECT_EQ(message([](auto&) {}), "");
  const auto far = open_backend("cuda:99");
  ASSERT_FALSE(far);
  EXPECT_NE(far.error().message.find("'cuda:99' does not exist"), std::string::npos) << far.error().message;
  EXPECT_TRUE((*gpu())->synchronise());
  const auto much = (*gpu())->allocate(std::size_t{1} << 50);
  ASSERT_FALSE(much);
  EXPECT_NE(much.error().message.find("MiB free"), std::string::npos);
  EXPECT_TRUE((*gpu())->allocate(1 << 20));
}

// A process has one set of kernels a device: what must not be loaded yet is tried in another one.
void expect_in_a_process_of_its_own(void (*test)()) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto run = [test] {
    test();
    std::exit(::testing::Test::HasFailure() ? 1 : 0);
  };
  EXPECT_EXIT(run(), ::testing::ExitedWithCode(0), "");
}

void run_from_the_kernels_beside_the_file() {
  const TemporaryDirectory directory;
  RandomProblem random(combination_named("bfloat16_block"), 5, {.is_aligned = true});
  const TileConfig tile = gpu_tiles(random.problem(), (*gpu())->info()).front();
  const auto file = config_path(directory.path(), (*gpu())->info().name, random.problem());
  ASSERT_TRUE(merge_into(file, {{1, tile}}, {}));
  const auto kept =
      (*gpu())->keep_kernels(random.problem(), {tile}, call_types(random.problem()), kernel_directory(file));
  ASSERT_TRUE(kept) << kept.error().message;
  // As on such a host: NVRTC is not found, and the process's own cache is empty.
  ::setenv("EXPERTILE_NVRTC", "/nonexistent/libnvrtc.so", 1);
  ::setenv("EXPERTILE_CACHE_DIR", (directory.path() / "cache").c_str(), 1);
  const auto gemm = GroupedGemm::prepare(random.problem(), {.device = "cuda", .config_dir = directory.path()});
  const auto other = GroupedGemm::prepare(random.problem(), {.device = "cuda", .config_dir = "/nonexistent"});
  ::unsetenv("EXPERTILE_NVRTC");
  ::unsetenv("EXPERTILE_CACHE_DIR");
  ASSERT_TRUE(gemm) << gemm.error().message;
  EXPECT_EQ(gemm->selection(2).match, Match::exact);
  PlacedProblem placed(**gpu(), random);
  EXPECT_TRUE((*gemm)(placed.args()));
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find("there is no NVRTC to compile it"), std::string::npos) << other.error().message;
}

TEST_F(OnGpu, AHostWithoutNvrtcRunsFromTheKernelsBesideTheFile) {
  expect_in_a_process_of_its_own(run_from_the_kernels_beside_the_file);
}

void serve_the_types_that_have_kernels() {
  // As a tuning leaves it that was stopped: kernels of the usual type of C alone.
  const TemporaryDirectory directory;
  std::uint64_t seed = 0;
  const auto made = [&] { return RandomProblem(combination_named("bfloat16"), seed, {.is_aligned = true}); };
  while (made().args().c.type != ElementType::bfloat16) ++seed;
  RandomProblem random = made();
  const Problem& problem = random.problem();
  const TileConfig tile = gpu_tiles(problem, (*gpu())->info()).front();
  const auto file = config_path(directory.path(), (*gpu())->info().name, problem);
  ASSERT_TRUE(merge_into(file, {{1, tile}}, {}));
  ASSERT_TRUE((*gpu())->keep_kernels(problem, {tile}, {usual_types(problem)}, kernel_directory(file)));
  ::setenv("EXPERTILE_NVRTC", "/nonexistent/libnvrtc.so", 1);
  ::setenv("EXPERTILE_CACHE_DIR", (directory.path() / "cache").c_str(), 1);
  ::testing::internal::CaptureStderr();
  const auto gemm = GroupedGemm::prepare(problem, {.device = "cuda", .config_dir = directory.path()});
  const std::string log = ::testing::internal::GetCapturedStderr();
  const auto one = GroupedGemm::prepare(
      problem, {.device = "cuda", .config_dir = directory.path(), .c_type = ElementType::bfloat16});
  const auto other =
      GroupedGemm::prepare(problem, {.device = "cuda", .config_dir = directory.path(), .c_type = ElementType::float32});
  ::unsetenv("EXPERTILE_NVRTC");
  ::unsetenv("EXPERTILE_CACHE_DIR");
  ASSERT_TRUE(gemm) << gemm.error().message;
  EXPECT_EQ(gemm->selection(2).match, Match::exact);
  EXPECT_NE(log.find("only calls with A in bfloat16 and C in bfloat16 have a kernel"), std::string::npos) << log;
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->selection(2).match, Match::exact);
  EXPECT_FALSE(other);  // neither the file's tile nor a built-in one has a kernel
  PlacedProblem placed(**gpu(), random);
  GroupedGemmArgs args = placed.args();
  EXPECT_TRUE((*gemm)(args));
  EXPECT_TRUE((*one)(args));
  args.c.type = ElementType::float16;  // of the same size
  EXPECT_NE((*gemm)(args).error().message.find("no kernel for A in bfloat16 and C in float16"), std::string::npos);
  EXPECT_NE((*one)(args).error().message.find("prepared for C in bfloat16"), std::string::npos);
}

TEST_F(OnGpu, AHostWithoutNvrtcServesTheTypesThatHaveKernels) {
  expect_in_a_process_of_its_own(serve_the_types_that_have_kernels);
}

TEST_F(OnGpu, ACallCanBeCapturedInAGraph) {
  // The tuner times graphs of calls: what it captures gives what a plain call gives.
  RandomProblem random(combination_named("float16"), 7, {.is_aligned = true});
  PlacedProblem placed(**gpu(), random);
  const TileConfig tile = gpu_tiles(random.problem(), (*gpu())->info()).front();
  const GroupedGemmArgs args = placed.args();
  const auto plan = (*gpu())->plan(random.problem(), {tile}, {types_of(args)}, SlowKernels::refused).front();
  ASSERT_TRUE(plan) << plan.error().message;
  const auto microseconds = (*gpu())->time_us(**plan, {&args, 1}, Calls::in_a_graph);
  ASSERT_TRUE(microseconds) << microseconds.error().message;
  EXPECT_GT(*microseconds, 0.0);
  ASSERT_TRUE(placed.fetch());
  const GroupedGemmArgs host = random.args();
  EXPECT_LE(worst_error_over_bound(random.problem(), host, reference_grouped_gemm(random.problem(), host)), 1.0);
}

// Large tiles in every form, of a problem with more of them than are multiplied at a time.
std::vector<TileConfig> tiles_that_are_shared_out() {
  constexpr auto kHopper = KernelFamily::sm90;
  return {{128, 128, 64, 8, 8, 4, 1, 0, kHopper, 0},    {256, 128, 64, 8, 8, 3, 1, 0, kHopper, 0, 2},
          {128, 128, 64, 8, 8, 4, 1, 0, kHopper, 1, 2}, {128, 128, 64, 4, 8, 4, 1, 0, kHopper, 0, 1, 2},
          {128, 128, 64, 8, 8, 4, 1, 1, kHopper, 0},    {256, 128, 64, 8, 8, 3, 1, 1, kHopper, 0, 2}};
}

class SharedOutOnGpu : public OnGpu, public ::testing::WithParamInterface<int> {
 protected:
  void SetUp() override {
    OnGpu::SetUp();
    if (IsSkipped()) return;
    if ((*gpu())->info().gpu().compute_capability != 90)
      GTEST_SKIP() << isa_name((*gpu())->info()) << " has no Hopper kernels";
    for (int i = 0; i < 2; ++i) streams_.push_back(std::make_unique<TestStream>());
  }
  // Each problem on its stream; a graph of the calls, replayed on that stream, where it is captured.
  void run(const CallPlan& plan, const std::vector<PlacedProblem*>& placed, bool is_captured) {
    for (int i = 0; i < calls_; ++i) {
      for (std::size_t s = 0; s < placed.size(); ++s) {
        const TestStream& stream = *streams_[s];
        GroupedGemmArgs args = placed[s]->args();
        args.stream = stream.handle();
        const auto call = [&] {
          const auto status = (*gpu())->run(plan, args);
          EXPECT_TRUE(status) << status.error().message;
        };
        if (!is_captured) {
          call();
          continue;
        }
        const cuda::GraphExecHandle graph = stream.captured(call);
        for (int replay = 0; replay < 3; ++replay) ASSERT_NO_FATAL_FAILURE(stream.replay(graph));
        stream.destroy(graph);
      }
    }
    for (const auto& stream : streams_) ASSERT_NO_FATAL_FAILURE(stream->wait());
  }

  const int calls_ = std::getenv("EXPERTILE_FEW_PROBLEMS") != nullptr ? 1 : 20;  // scripts/sanitize_gpu.sh
  std::vector<std::unique_ptr<TestStream>> streams_;
};

TEST_P(SharedOutOnGpu, TilesAreRightOnStreamsSideBySideAndInGraphs) {
  RandomProblem random(combination_named("bfloat16"), GetParam(), {.is_aligned = true, .has_many_tiles = true});
  RandomProblem other(combination_named("bfloat16"), GetParam(), {.is_aligned = true, .has_many_tiles = true});
  const GroupedGemmArgs args = random.args();
  const auto groups = static_cast<std::int64_t>(args.weight_indices.size());
  const auto expected = reference_grouped_gemm(random.problem(), args);
  for (const TileConfig& tile : tiles_that_are_shared_out()) {
    const LaunchPlan launch =
        make_launch_plan(random.problem(), make_spec(random.problem(), tile, types_of(args), true));
    ASSERT_GT(block_count(launch, args.a.rows, groups), 2 * (*gpu())->info().gpu().multiprocessors);
    const auto plan = (*gpu())->plan(random.problem(), {tile}, {types_of(args)}, SlowKernels::refused).front();
    ASSERT_TRUE(plan) << plan.error().message << expertile::describe(tile);
    for (const bool is_captured : {false, true}) {
      random.poison();
      other.poison();
      PlacedProblem first(**gpu(), random);
      PlacedProblem second(**gpu(), other);
      ASSERT_NO_FATAL_FAILURE(run(**plan, {&first, &second}, is_captured)) << expertile::describe(tile);
      for (auto [placed, problem] : {std::pair{&first, &random}, std::pair{&second, &other}}) {
        ASSERT_TRUE(placed->fetch());
        EXPECT_EQ(problem->overwritten(), 0) << expertile::describe(tile);
        EXPECT_LE(worst_error_over_bound(problem->problem(), problem->args(), expected), 1.0)
            << expertile::describe(tile) << (is_captured ? ", captured" : "");
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(OfOneSliceAndOfFour, SharedOutOnGpu, ::testing::Values(11, 13));  // seeds

TEST_F(OnGpu, QuantisingNeedsItsWorkspace) {
  RandomProblem random(combination_named("bfloat16_block"), 5, {.is_aligned = true});
  PlacedProblem placed(**gpu(), random);
  const auto gemm = GroupedGemm::prepare(random.problem(), {.device = "cuda", .config_dir = "/nonexistent"});
  ASSERT_TRUE(gemm) << gemm.error().message;
  EXPECT_EQ(gemm->workspace_bytes(placed.args().a.rows), placed.args().workspace.size());
  GroupedGemmArgs args = placed.args();
  EXPECT_TRUE((*gemm)(args));
  args.workspace = {};
  const auto status = (*gemm)(args);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("workspace has 0 bytes"), std::string::npos) << status.error().message;
}

}  // namespace
}  // namespace expertile::testing
