#include "support/placed_problem.hpp"

#include <gtest/gtest.h>

#include "plan/candidates.hpp"
#include "plan/kernel_plan.hpp"

namespace expertile::testing {

PlacedProblem::PlacedProblem(const Backend& backend, RandomProblem& random) : backend_(backend), random_(random) {
  args_ = random.args();
  const auto bytes = [](const ConstMatrixView& m) {
    return static_cast<std::size_t>(m.rows * m.pitch) * size_of(m.type);
  };
  memory_.reserve(10);
  args_.a.data = placed(args_.a.data, bytes(args_.a));
  args_.b.data = placed(args_.b.data, bytes(args_.b));
  args_.c.data = const_cast<void*>(placed(args_.c.data, bytes(args_.c)));
  const auto segments = args_.seg_indptr;
  args_.seg_indptr = {static_cast<const std::int64_t*>(placed(segments.data(), segments.size_bytes())),
                      segments.size()};
  const auto segments_32 = args_.seg_indptr_32;
  args_.seg_indptr_32 = {static_cast<const std::int32_t*>(placed(segments_32.data(), segments_32.size_bytes())),
                         segments_32.size()};
  const auto masked_m = args_.masked_m;
  args_.masked_m = {static_cast<const std::int32_t*>(placed(masked_m.data(), masked_m.size_bytes())), masked_m.size()};
  const auto experts = args_.weight_indices;
  args_.weight_indices = {static_cast<const std::int64_t*>(placed(experts.data(), experts.size_bytes())),
                          experts.size()};
  const auto scale_a = args_.scale_a;
  args_.scale_a = {static_cast<const float*>(placed(scale_a.data(), scale_a.size_bytes())), scale_a.size()};
  const auto scale_b = args_.scale_b;
  args_.scale_b = {static_cast<const float*>(placed(scale_b.data(), scale_b.size_bytes())), scale_b.size()};
  memory_.push_back(backend_.allocate(backend_.workspace_bytes(random_.problem(), args_.a.rows)).value());
  args_.workspace = {static_cast<std::byte*>(memory_.back().data()), memory_.back().bytes()};
}

const void* PlacedProblem::placed(const void* data, std::size_t bytes) {
  if (bytes == 0) return nullptr;
  memory_.push_back(backend_.allocate(bytes).value());
  const auto status = backend_.fill(memory_.back(), {static_cast<const std::byte*>(data), bytes});
  EXPECT_TRUE(status) << status.error().message;
  return memory_.back().data();
}

Status PlacedProblem::run(const TileConfig& tile) {
  if (auto status = run_tile(backend_, random_.problem(), tile, args_); !status) return status;
  if (auto status = backend_.synchronise(); !status) return status;
  return fetch();
}

Status run_tile(const Executor& executor, const Problem& problem, const TileConfig& tile, const GroupedGemmArgs& args) {
  const auto plan = executor.plan(problem, {tile}, {types_of(args)}, SlowKernels::refused).front();
  if (!plan) return fail(plan.error());
  return executor.run(**plan, args);
}

Status PlacedProblem::fetch() {
  const GroupedGemmArgs host = random_.args();
  const auto bytes = static_cast<std::size_t>(host.c.rows * host.c.pitch) * size_of(host.c.type);
  return backend_.download(args_.c.data, {static_cast<std::byte*>(host.c.data), bytes});
}

std::vector<TileConfig> gpu_tiles(const Problem& problem, const DeviceInfo& device) {
  constexpr auto kGpu = KernelFamily::sm80;
  std::vector<TileConfig> tiles;
  constexpr auto kHopper = KernelFamily::sm90;
  for (const int box : {32, 64, 128}) {  // 128 bytes of 32, 16 and 8 bits; what does not fit is left out below
    tiles.insert(tiles.end(), {{8, 64, box, 1, 4, 3, 1, 1, kHopper, 0},
                               {64, 64, box, 1, 4, 2, 1, 0, kHopper, 0},
                               {16, 128, 2 * box, 1, 4, 4, 1, 1, kHopper, 0},
                               {128, 128, box, 8, 8, 4, 1, 0, kHopper, 0},
                               {32, 128, box, 1, 8, 5, 1, 1, kHopper, 0},
                               {64, 32, box, 2, 8, 3, 1, 0, kHopper, 1},
                               {128, 64, 2 * box, 1, 4, 2, 1, 0, kHopper, 0},
                               {24, 64, box, 1, 8, 4, 1, 1, kHopper, 1},
                               {128, 128, box, 1, 8, 3, 1, 1, kHopper, 0},
                               {128, 128, box, 8, 8, 4, 1, 0, kHopper, 0, 2},
                               {256, 128, box, 8, 8, 3, 1, 1, kHopper, 0, 2},
                               {64, 64, box, 1, 8, 4, 1, 0, kHopper, 1, 2},
                               {64, 128, 2 * box, 1, 4, 2, 1, 1, kHopper, 0, 4},
                               {96, 128, box, 1, 8, 3, 1, 1, kHopper, 0},
                               {128, 128, box, 8, 4, 2, 1, 1, kHopper, 0},
                               {128, 256, box, 8, 8, 3, 1, 1, kHopper, 0},
                               {128, 256, box, 8, 8, 3, 1, 0, kHopper, 0, 2},
                               {256, 128, box, 8, 8, 2, 1, 1, kHopper, 0, 2},
                               // weights that two row tiles share
                               {128, 128, box, 4, 8, 3, 1, 0, kHopper, 0, 1, 2},
                               {64, 64, 2 * box, 1, 8, 3, 1, 0, kHopper, 1, 1, 2},
                               // three warpgroups
                               {192, 64, box, 1, 12, 3, 1, 0, kHopper, 0},
                               {192, 128, box, 8, 12, 3, 1, 0, kHopper, 0},
                               {64, 192, box, 8, 12, 3, 1, 1, kHopper, 0, 2},
                               {192, 192, box, 8, 12, 3, 1, 1, kHopper, 0},
                               // parts of K
                               {8, 64, 2 * box, 1, 4, 4, 2, 1, kHopper, 0},
                               {64, 64, box, 1, 4, 4, 4, 1, kHopper, 0},
                               {32, 128, box, 1, 8, 3, 8, 1, kHopper, 0},
                               {128, 64, box, 1, 8, 3, 2, 0, kHopper, 0},
                               {64, 128, box, 2, 4, 2, 4, 0, kHopper, 0}});
  }
  tiles.insert(tiles.end(), {// M, N, K, GROUP_SIZE_M, warps, stages, SPLIT_K, SWAP_AB
                             {16, 64, 64, 1, 4, 3, 1, 0, kGpu},
                             {32, 32, 128, 2, 4, 2, 1, 0, kGpu},
                             {64, 64, 64, 8, 4, 4, 1, 0, kGpu},
                             {128, 64, 32, 1, 8, 3, 1, 0, kGpu},
                             {16, 32, 128, 1, 4, 3, 2, 0, kGpu},
                             {8, 64, 64, 1, 4, 4, 1, 1, kGpu},
                             {16, 32, 128, 1, 4, 3, 4, 1, kGpu},
                             {32, 128, 64, 8, 8, 2, 1, 1, kGpu}});
  std::erase_if(tiles, [&](const TileConfig& tile) { return !check_tile(problem, tile, device); });
  return tiles;
}

}  // namespace expertile::testing
