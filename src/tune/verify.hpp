#pragma once
// A candidate is timed only after it agreed with the double-precision reference.

#include <memory>
#include <vector>

#include "backend/backend.hpp"

namespace expertile {

// Verifies tiles of one problem. Tiles of about one size are given the same inputs, whose reference is computed once:
// it takes most of a verification's time. What it is made with outlives it. One thread at a time.
class Verification {
 public:
  Verification(const Backend& backend, const Problem& problem);
  ~Verification();
  Verification(Verification&&) noexcept;
  Verification(const Verification&) = delete;
  Verification& operator=(const Verification&) = delete;
  Verification& operator=(Verification&&) = delete;

  // Worst error over its derived bound, on small, ragged and aligned cases cut from the problem, the last with more
  // than a whole tile along every side; more than 1 is wrong, and a write outside the groups, or none inside, gives
  // infinity. An error says why the tile could not run.
  [[nodiscard]] Result<double> error_over_bound(const TileConfig& tile);

 private:
  class PlacedCase;
  struct Case;
  [[nodiscard]] Result<const PlacedCase*> placed(const Case& wanted);

  const Backend& backend_;
  const Problem& problem_;
  std::vector<std::unique_ptr<const PlacedCase>> cases_;
};

}  // namespace expertile
