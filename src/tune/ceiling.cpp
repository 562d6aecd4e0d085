// The machine's own limits, with the library's own kernels, so that "percent of the ceiling" means what is left to
// gain.

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "tune/tensors.hpp"
#include "tune/tuner.hpp"

namespace expertile {
namespace {

using Clock = std::chrono::steady_clock;

// The fastest of at least 4 runs over at least `budget` seconds: a neighbour's burst on a shared machine lasts a while.
template <class Work>
double fastest_seconds(double budget, const Work& work) {
  double best = 1e30;
  double total = 0;
  for (int i = 0; i < 4 || total < budget; ++i) {
    const auto start = Clock::now();
    work();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::min(best, seconds);
    total += seconds;
  }
  return best;
}

double read_bandwidth(const DeviceInfo& device) {
  // Beyond the last cache where memory allows; a shared cache of a large machine is capped, a tenant owns only a part.
  const std::int64_t bytes =
      std::clamp<std::int64_t>(2 * device.l3_bytes, std::int64_t{256} << 20, std::int64_t{1} << 30);
  const std::vector<std::uint64_t> data(static_cast<std::size_t>(bytes) / 8, 1);
  // Several streams a thread, as the kernels read several rows of B: one alone does not fill the prefetchers.
  constexpr std::int64_t kStreams = 8;
  const auto count = static_cast<std::int64_t>(data.size());
  const std::int64_t length = count / (kStreams * device.threads);
  std::uint64_t sum = 0;
  const double seconds = fastest_seconds(1.0, [&] {
#pragma omp parallel for num_threads(device.threads) reduction(+ : sum) schedule(static)
    for (int thread = 0; thread < device.threads; ++thread) {
      const std::uint64_t* first = data.data() + thread * kStreams * length;
      for (std::int64_t i = 0; i + 8 <= length; i += 8) {
        for (std::int64_t stream = 0; stream < kStreams; ++stream) {
          for (std::int64_t word = i; word < i + 8; ++word) sum += first[stream * length + word];
        }
      }
    }
  });
  // The sum is used, so that the loop is not removed.
  return sum == 0 ? 0 : static_cast<double>(bytes) / seconds;
}

double peak_flops(const Backend& backend, const Problem& problem) {
  Problem small = problem;
  small.experts = 1;
  small.n = std::int64_t{192} * backend.info().threads;
  small.k = 1024;
  constexpr std::int64_t kRows = 256;
  const RoutingSample sample{{0, kRows}, {0}};
  Tensors tensors(small, kRows, 2);
  const GroupedGemmArgs args = tensors.args(sample);
  double best = 0;
  for (const int m : {64, 128, 256}) {
    for (const int n : {96, 192}) {
      TileConfig tile;
      tile.block_size_m = m;
      tile.block_size_n = n;
      tile.block_size_k = 1024;
      backend.run(small, tile, args);  // scratch pages
      const double seconds = fastest_seconds(0.1, [&] { backend.run(small, tile, args); });
      best = std::max(best, 2.0 * kRows * static_cast<double>(small.n) * static_cast<double>(small.k) / seconds);
    }
  }
  return best;
}

}  // namespace

Ceiling measure_ceiling(const Backend& backend, const Problem& problem) {
  return {read_bandwidth(backend.info()), peak_flops(backend, problem)};
}

}  // namespace expertile
