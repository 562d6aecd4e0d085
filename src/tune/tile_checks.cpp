#include "tune/tile_checks.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "plan/candidates.hpp"

namespace expertile {

std::string TileChecks::reason_to_refuse(const TileConfig& tile) {
  if (auto status = check_tile(problem_, tile, backend_.info()); !status) return status.error().message;
  const auto known = std::ranges::find(refused_, tile, &RefusedTile::tile);
  if (known != refused_.end()) return known->reason;
  const Result<double>& error = verified(tile);
  if (!error) return error.error().message;
  if (*error <= 1) return {};
  return fmt::format("{}: its error is {:.3g} times the bound", describe(tile), *error);
}

const Result<double>& TileChecks::verified(const TileConfig& tile) {
  for (const auto& [known, error] : verified_) {
    if (known == tile) return error;
  }
  return verified_.emplace_back(tile, verification_.error_over_bound(tile)).second;
}

}  // namespace expertile
