#pragma once
// Random tensors of a problem, owned: for timing and for verifying.

#include <cstdint>
#include <vector>

#include "expertile/grouped_gemm.hpp"
#include "problem/routing.hpp"

namespace expertile {

class Tensors {
 public:
  // rows: the most that a sample will have.
  Tensors(const Problem& problem, std::int64_t rows, std::uint64_t seed);

  // The arguments of one call; views into this object and into `sample`.
  [[nodiscard]] GroupedGemmArgs args(const RoutingSample& sample);

 private:
  Problem problem_;
  std::int64_t rows_;
  std::vector<std::byte> a_, b_, c_;
  std::vector<float> scale_a_, scale_b_;
};

}  // namespace expertile
