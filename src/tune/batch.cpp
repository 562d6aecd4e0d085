#include "tune/batch.hpp"

#include <algorithm>
#include <utility>

namespace expertile {

Result<Batch> Batch::make(const Backend& backend, const Problem& problem, const Routing& routing, std::int64_t size,
                          int samples) {
  Batch batch;
  batch.size = size;
  auto drawn = routing_samples(routing, problem.experts, problem.top_k, size, samples);
  if (!drawn) return fail(drawn.error());
  batch.samples = std::move(*drawn);
  const auto count = static_cast<double>(batch.samples.size());
  for (const RoutingSample& sample : batch.samples) {
    batch.load.rows += static_cast<double>(sample.rows()) / count;
    batch.load.active_groups += static_cast<double>(sample.active_groups()) / count;
    auto placed = PlacedRouting::make(backend, sample);
    if (!placed) return fail(placed.error());
    batch.routings.push_back(std::move(*placed));
  }
  return batch;
}

std::int64_t Batch::most_rows() const {
  std::int64_t most = 1;
  for (const RoutingSample& sample : samples) most = std::max(most, sample.rows());
  return most;
}

}  // namespace expertile
