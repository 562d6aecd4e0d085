#pragma once
// Random tensors of a problem, owned, where the device computes: for timing and for verifying.

#include <cstdint>
#include <vector>

#include "backend/backend.hpp"
#include "problem/routing.hpp"

namespace expertile {

// A routing sample where the device reads it.
class PlacedRouting {
 public:
  [[nodiscard]] static Result<PlacedRouting> make(const Backend& backend, const RoutingSample& sample);
  [[nodiscard]] std::span<const std::int64_t> seg_indptr() const;
  [[nodiscard]] std::span<const std::int64_t> weight_indices() const;
  [[nodiscard]] std::int64_t rows() const { return rows_; }

 private:
  Buffer segments_;
  Buffer experts_;
  std::int64_t rows_ = 0;
};

class Tensors {
 public:
  // rows: the most that a sample will have. C is poisoned with 0xff bytes.
  [[nodiscard]] static Result<Tensors> make(const Backend& backend, const Problem& problem, std::int64_t rows,
                                            std::uint64_t seed);

  // C again as it was made.
  [[nodiscard]] Status poison_c(const Backend& backend) const;
  // The arguments of one call over the first `rows` rows of A and C; views into this object and into `routing`.
  [[nodiscard]] GroupedGemmArgs args(const PlacedRouting& routing, std::int64_t rows) const;

 private:
  Problem problem_;
  std::int64_t rows_ = 0;
  Buffer a_, b_, c_, scale_a_, scale_b_, workspace_;
};

}  // namespace expertile
