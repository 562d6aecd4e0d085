// The machine's own limits, with the library's own kernels, so that "percent of the ceiling" means what is left to
// gain.

#include <algorithm>

#include "plan/candidates.hpp"
#include "plan/kernel_plan.hpp"
#include "tune/tensors.hpp"
#include "tune/tuner.hpp"

namespace expertile {
namespace {

// One expert with so many rows that arithmetic is the limit: in a CPU's caches, and several waves of a GPU's tiles.
struct Dense {
  Problem problem;
  std::int64_t rows = 0;
};
Dense dense_problem(const DeviceInfo& device, const Problem& like) {
  Dense dense{like, device.is_gpu() ? 8192 : 256};
  dense.problem.experts = 1;
  dense.problem.n = device.is_gpu() ? 8192 : std::int64_t{192} * device.cpu().threads;
  dense.problem.k = device.is_gpu() ? 4096 : 1024;
  return dense;
}

Result<double> peak_flops(const Backend& backend, const Problem& problem) {
  constexpr std::size_t kTiles = 6;
  constexpr int kRepeats = 12;
  const Dense dense = dense_problem(backend.info(), problem);
  const auto tensors = Tensors::make(backend, dense.problem, dense.rows, 2);
  if (!tensors) return fail(tensors.error());
  const auto routing = PlacedRouting::make(backend, {{0, dense.rows}, {0}});
  if (!routing) return fail(routing.error());
  const GroupedGemmArgs args = tensors->args(*routing, dense.rows);
  std::vector<TileConfig> tiles = make_candidates(dense.problem, dense.rows, 1, backend.info()).candidates;
  tiles.resize(std::min(tiles.size(), kTiles));
  tiles.push_back(built_in_tile(dense.problem, dense.rows, backend.info()));
  const auto plans = backend.plan(dense.problem, tiles, {types_of(args)}, SlowKernels::refused);
  double best_us = 0;
  for (const auto& plan : plans) {
    for (int repeat = 0; plan && repeat < kRepeats; ++repeat) {
      const auto microseconds = backend.time_us(**plan, {&args, 1}, Calls::in_a_graph);
      if (!microseconds) return fail(microseconds.error());
      if (best_us == 0 || *microseconds < best_us) best_us = *microseconds;
    }
  }
  const double operations = 2.0 * static_cast<double>(dense.rows) * static_cast<double>(dense.problem.n) *
                            static_cast<double>(dense.problem.k);
  return best_us > 0 ? operations / (1e-6 * best_us) : 0;
}

}  // namespace

Result<Ceiling> measure_ceiling(const Backend& backend, const Problem& problem) {
  const auto flops = peak_flops(backend, problem);
  if (!flops) return fail(flops.error());
  return Ceiling{backend.bandwidth(), *flops};
}

}  // namespace expertile
