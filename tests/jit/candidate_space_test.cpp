// The kernels that a tuning would try, and those that it looks around at, compiled by NVRTC for three architectures: no
// GPU is needed for that. A spread sample by default; all of them where EXPERTILE_ALL_KERNELS is set (./run_tests.sh
// --all-kernels).

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <mutex>

#include "jit/compile_all.hpp"
#include "jit/kernel_source.hpp"
#include "jit/side_by_side.hpp"
#include "plan/candidates.hpp"
#include "plan/kernel_plan.hpp"
#include "support/devices.hpp"
#include "support/placed_problem.hpp"
#include "support/random_problem.hpp"
#include "tune/batch.hpp"

namespace expertile {
namespace {

// Kernels of each test, about a second each; all of them where EXPERTILE_ALL_KERNELS asks for them.
constexpr std::size_t kCandidates = 40;
constexpr std::size_t kBuiltIns = 48;
constexpr std::size_t kSpecialTiles = 26;
constexpr std::size_t kOtherRows = 8;

// One of each dtype, in the shapes that people run.
std::vector<Problem> representative_problems() {
  return {
      {.experts = 8, .n = 28672, .k = 4096, .dtype = DType::float16, .top_k = 2},
      {.experts = 128, .n = 1536, .k = 2048, .dtype = DType::bfloat16, .top_k = 8},
      {.experts = 8, .n = 4096, .k = 4096, .dtype = DType::float32, .top_k = 2},
      {.experts = 32, .n = 4096, .k = 7168, .dtype = DType::fp8_w8a8, .block_shape = BlockShape{128, 128}, .top_k = 1},
      {.experts = 8, .n = 4096, .k = 14336, .dtype = DType::int8_w8a8, .top_k = 2},
      {.experts = 16, .n = 10752, .k = 6144, .dtype = DType::int8_w8a16, .top_k = 4},
      {.experts = 1, .n = 4096, .k = 7168, .dtype = DType::bfloat16, .top_k = 1},  // fewer tiles than multiprocessors
  };
}

struct Job {
  std::string arch;
  KernelSpec spec;
};

std::vector<Job> candidate_space() {
  std::vector<Job> jobs;
  for (const char* arch : {"sm_80", "sm_89", "sm_90a"}) {
    for (const Problem& problem : representative_problems()) {
      std::vector<KernelSpec> known;
      for (std::int64_t batch = 1; batch <= 16384; batch *= 4) {
        const std::int64_t rows = batch * problem.top_k;
        const double active = static_cast<double>(std::min(rows, problem.experts));
        auto tiles = make_candidates(problem, rows, active, testing::a_gpu(arch)).candidates;
        if (rows < kFewRows * problem.experts) {
          for (std::size_t i = 0, listed = tiles.size(); i < listed; ++i) {
            const auto around = neighbours(problem, tiles[i], rows, active, testing::a_gpu(arch));
            tiles.insert(tiles.end(), around.begin(), around.end());
          }
        }
        for (const TileConfig& tile : built_in_tiles(problem, testing::a_gpu(arch))) tiles.push_back(tile);
        for (const TileConfig& tile : tiles) {
          const KernelSpec spec = make_spec(problem, tile, usual_types(problem), true);
          if (std::find(known.begin(), known.end(), spec) == known.end()) known.push_back(spec);
        }
      }
      // What every call falls back on whose rows are not aligned.
      for (const TileConfig& tile : built_in_tiles(problem, testing::a_gpu(arch))) {
        known.push_back(make_spec(problem, tile, usual_types(problem), false));
      }
      for (const KernelSpec& spec : known) jobs.push_back({arch, spec});
    }
  }
  return jobs;
}

// With one type of C after the other, tile by tile: each has its own way out.
KernelSpec next_spec(const Problem& problem, const TileConfig& tile, ElementType a, std::size_t turn,
                     RowLayout rows = RowLayout::offsets) {
  std::vector<CallTypes> types = call_types(problem, rows);
  std::erase_if(types, [&](const CallTypes& one) { return one.a != a; });
  return make_spec(problem, tile, types[turn % types.size()], true);
}

// So many of them, evenly spread over all.
std::vector<Job> sampled(const std::vector<Job>& all, std::size_t count) {
  if (std::getenv("EXPERTILE_ALL_KERNELS") != nullptr || all.size() <= count) return all;
  std::vector<Job> sample;
  for (std::size_t i = 0; i < count; ++i) sample.push_back(all[i * all.size() / count]);
  return sample;
}

struct Outcome {
  double seconds = 0;
  std::string error;    // it does not compile
  std::string refused;  // it compiles, and would be refused with this reason
  int registers = 0;
};

std::vector<Outcome> compile(const jit::Nvrtc& nvrtc, const std::vector<Job>& jobs) {
  std::vector<Outcome> outcomes(jobs.size());
  jit::side_by_side(jobs.size(), jit::all_threads(), [&](std::size_t i) {
    const auto begin = std::chrono::steady_clock::now();
    const auto cubin = nvrtc.compile(jit::kernel_request(jit::kernel_source(jobs[i].spec), jobs[i].arch));
    outcomes[i].seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (!cubin) {
      outcomes[i].error = cubin.error().message;
      return;
    }
    outcomes[i].registers = cubin->resources.registers;
    const auto status = jit::refuse_if_slow(cubin->resources);
    if (!status && jobs[i].spec.wide_loads) {
      outcomes[i].refused = status.error().message;
    }
  });
  return outcomes;
}

TEST(CandidateSpace, CompilesWithoutSpillsOnEveryArchitecture) {
  const auto nvrtc = jit::Nvrtc::open();
  if (!nvrtc) GTEST_SKIP() << nvrtc.error().message;
  const std::vector<Job> space = candidate_space();
  const std::size_t all = space.size();
  ASSERT_GT(all, 3 * 7 * 10U);
  const std::vector<Job> jobs = sampled(space, kCandidates);
  const auto outcomes = compile(*nvrtc, jobs);
  std::vector<double> seconds;
  std::size_t refused = 0;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const std::string what = fmt::format("{} {}", jobs[i].arch, describe(jobs[i].spec.tile));
    EXPECT_EQ(outcomes[i].error, "") << what;
    EXPECT_GT(outcomes[i].registers, 0) << what;
    seconds.push_back(outcomes[i].seconds);
    if (outcomes[i].refused.empty()) continue;
    ++refused;
    fmt::print("refused: {} product {}: {}\n", what, static_cast<int>(jobs[i].spec.product), outcomes[i].refused);
  }
  // The planner's own limits should keep most of these away from the compiler.
  EXPECT_LE(refused, jobs.size() / 12);
  std::sort(seconds.begin(), seconds.end());
  fmt::print("{} of {} kernels for sm_80, sm_89 and sm_90a: {} refused for spills, median {:.2f} s, longest {:.2f} s\n",
             jobs.size(), all, refused, seconds[seconds.size() / 2], seconds.back());
}

TEST(BuiltInTiles, CompileWithoutSpillsForEveryDtype) {
  const auto nvrtc = jit::Nvrtc::open();
  if (!nvrtc) GTEST_SKIP() << nvrtc.error().message;
  std::vector<Job> jobs;
  for (const char* arch : {"sm_80", "sm_90a"}) {
    for (const testing::Combination& one : testing::all_combinations()) {
      Problem problem{.n = 4096, .k = 4096, .dtype = one.dtype, .scales = one.scales, .tf32 = one.tf32};
      if (one.scales == Scales::block) problem.block_shape = BlockShape{128, 128};
      for (const TileConfig& tile : built_in_tiles(problem, testing::a_gpu(arch))) {
        const Status fits = check_tile(problem, tile, testing::a_gpu(arch));
        EXPECT_TRUE(fits) << fits.error().message;
        jobs.push_back({arch, next_spec(problem, tile, one.a, jobs.size())});
      }
    }
  }
  jobs = sampled(jobs, kBuiltIns);
  const auto outcomes = compile(*nvrtc, jobs);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    EXPECT_EQ(outcomes[i].error + outcomes[i].refused, "")
        << jobs[i].arch << " product " << static_cast<int>(jobs[i].spec.product) << " scaling "
        << static_cast<int>(jobs[i].spec.scaling) << " " << describe(jobs[i].spec.tile);
  }
}

TEST(BuiltInTiles, CompileWithoutSpillsInEveryRowLayout) {
  const auto nvrtc = jit::Nvrtc::open();
  if (!nvrtc) GTEST_SKIP() << nvrtc.error().message;
  std::vector<Job> jobs;
  for (const RowLayout rows : {RowLayout::masked, RowLayout::offsets_32}) {
    for (const char* arch : {"sm_80", "sm_90a"}) {
      for (const testing::Combination& one : testing::all_combinations()) {
        Problem problem{.n = 4096, .k = 4096, .dtype = one.dtype, .scales = one.scales, .tf32 = one.tf32};
        if (one.scales == Scales::block) problem.block_shape = BlockShape{128, 128};
        for (const TileConfig& tile : built_in_tiles(problem, testing::a_gpu(arch))) {
          jobs.push_back({arch, next_spec(problem, tile, one.a, jobs.size(), rows)});
        }
      }
    }
  }
  jobs = sampled(jobs, kOtherRows);
  const auto outcomes = compile(*nvrtc, jobs);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    EXPECT_EQ(outcomes[i].error + outcomes[i].refused, "")
        << jobs[i].arch << " rows " << static_cast<int>(jobs[i].spec.rows) << " product "
        << static_cast<int>(jobs[i].spec.product) << " " << describe(jobs[i].spec.tile);
  }
}

// Kernels that were kept are found by their text: that of offsets does not say what it is.
TEST(KernelText, NamesTheRowsWhereTheyAreNotOffsets) {
  KernelSpec spec;
  spec.tile.kernel = KernelFamily::sm80;
  EXPECT_EQ(jit::kernel_source(spec).text.find("rows"), std::string::npos);
  spec.rows = Rows::masked;
  EXPECT_NE(jit::kernel_source(spec).text.find(".rows = static_cast<Rows>(2)"), std::string::npos);
}

// Of every dtype that Hopper's family multiplies, in both operand orders.
TEST(TilesOnHopper, WithPartsOfKOrThreeWarpgroupsCompileWithoutSpills) {
  const auto nvrtc = jit::Nvrtc::open();
  if (!nvrtc) GTEST_SKIP() << nvrtc.error().message;
  std::vector<Job> jobs;
  for (const testing::Combination& one : testing::all_combinations()) {
    Problem problem{.n = 4096, .k = 4096, .dtype = one.dtype, .scales = one.scales, .tf32 = one.tf32};
    if (one.scales == Scales::block) problem.block_shape = BlockShape{128, 128};
    for (const TileConfig& tile : testing::gpu_tiles(problem, testing::a_gpu("sm_90a"))) {
      if (tile.kernel == KernelFamily::sm90 && (tile.split_k >= 4 || tile.num_warps == 12)) {
        jobs.push_back({"sm_90a", next_spec(problem, tile, one.a, jobs.size())});
      }
    }
  }
  ASSERT_GE(jobs.size(), 60U);
  jobs = sampled(jobs, kSpecialTiles);
  const auto outcomes = compile(*nvrtc, jobs);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    EXPECT_EQ(outcomes[i].error + outcomes[i].refused, "")
        << "product " << static_cast<int>(jobs[i].spec.product) << " scaling " << static_cast<int>(jobs[i].spec.scaling)
        << " " << describe(jobs[i].spec.tile);
  }
}

TEST(Nvrtc, ABrokenSourceIsOneLine) {
  const auto nvrtc = jit::Nvrtc::open();
  if (!nvrtc) GTEST_SKIP() << nvrtc.error().message;
  const auto cubin = nvrtc->compile({{"broken.cu", "__global__ void f() { undeclared = 1; }", {}}, "sm_90a", {}});
  ASSERT_FALSE(cubin);
  EXPECT_NE(cubin.error().message.find("broken.cu"), std::string::npos) << cubin.error().message;
  EXPECT_NE(cubin.error().message.find("undeclared"), std::string::npos) << cubin.error().message;
  EXPECT_EQ(cubin.error().message.find('\n'), std::string::npos);
}

TEST(Nvrtc, CompilesTheQuantisingKernel) {
  const auto nvrtc = jit::Nvrtc::open();
  if (!nvrtc) GTEST_SKIP() << nvrtc.error().message;
  for (const Storage a : {Storage::float16, Storage::bfloat16, Storage::float32}) {
    for (const bool is_masked : {false, true}) {
      const auto cubin = nvrtc->compile(jit::kernel_request(jit::quantise_source(a, is_masked), "sm_80"));
      ASSERT_TRUE(cubin) << cubin.error().message;
      EXPECT_TRUE(jit::refuse_if_slow(cubin->resources));
    }
  }
}

}  // namespace
}  // namespace expertile
