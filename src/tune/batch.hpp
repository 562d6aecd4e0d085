#pragma once
// One batch size of a tuning: what its calls look like.

#include <cstdint>
#include <vector>

#include "backend/backend.hpp"
#include "problem/routing.hpp"
#include "tune/tensors.hpp"

namespace expertile {

// Groups of fewer rows, on average, wait for memory alone, whichever way they are routed.
inline constexpr int kFewRows = 32;

// What calls of a batch size have, on average.
struct Load {
  double rows = 0;
  double active_groups = 0;
};

struct Batch {
  std::int64_t size = 0;  // in tokens
  std::vector<RoutingSample> samples;
  std::vector<PlacedRouting> routings;  // the samples, where the device reads them
  Load load;

  // samples: how many; a trace has as many as it has.
  [[nodiscard]] static Result<Batch> make(const Backend& backend, const Problem& problem, const Routing& routing,
                                          std::int64_t size, int samples);
  [[nodiscard]] std::int64_t rows() const { return static_cast<std::int64_t>(load.rows); }
  [[nodiscard]] std::int64_t most_rows() const;
  [[nodiscard]] bool has_few_rows(const Problem& problem) const {
    return load.rows < kFewRows * static_cast<double>(problem.experts);
  }
};

}  // namespace expertile
