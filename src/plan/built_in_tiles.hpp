#pragma once
// The defaults of a problem that has no tuned file. Which of them a call takes is worked out when rows like its are
// first asked for, and kept.

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "plan/candidates.hpp"

namespace expertile {

// Any thread may ask. What was worked out before costs neither a lock nor an allocation.
class BuiltInTiles {
 public:
  BuiltInTiles(const Problem& problem, const DeviceInfo& device);

  // built_in_tile for so many rows.
  [[nodiscard]] const TileConfig& of(std::int64_t rows) const { return tiles_[place_of(rows)]; }
  // Its place in all().
  [[nodiscard]] std::size_t place_of(std::int64_t rows) const;
  // Every tile that of() may give.
  [[nodiscard]] const std::vector<TileConfig>& all() const { return tiles_; }
  // Row steps for which it was worked out so far.
  [[nodiscard]] int known_steps() const;

 private:
  static constexpr int kUnknown = -1;

  Problem problem_;
  DeviceInfo device_;
  std::vector<TileConfig> tiles_;
  mutable std::array<std::atomic<int>, kRowSteps> places_;  // by row_step; two threads may find the same
};

}  // namespace expertile
