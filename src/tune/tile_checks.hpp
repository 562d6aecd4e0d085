#pragma once
// Which tiles of a problem may be timed.

#include <string>
#include <utility>
#include <vector>

#include "backend/backend.hpp"
#include "tune/verify.hpp"

namespace expertile {

struct RefusedTile {
  TileConfig tile;
  std::string reason;
};

// Verifies each tile once. What it is made with outlives it. One thread at a time.
class TileChecks {
 public:
  // refused: never run.
  TileChecks(const Backend& backend, const Problem& problem, const std::vector<RefusedTile>& refused)
      : backend_(backend), problem_(problem), refused_(refused), verification_(backend, problem) {}

  // Empty where the tile, whose kernel is prepared, gives right results; else the reason.
  [[nodiscard]] std::string reason_to_refuse(const TileConfig& tile);
  // Of the verification; 0 where it could not be run.
  [[nodiscard]] double error_over_bound(const TileConfig& tile) { return verified(tile).value_or(0); }

 private:
  const Result<double>& verified(const TileConfig& tile);

  const Backend& backend_;
  const Problem& problem_;
  const std::vector<RefusedTile>& refused_;
  Verification verification_;
  std::vector<std::pair<TileConfig, Result<double>>> verified_;
};

}  // namespace expertile
