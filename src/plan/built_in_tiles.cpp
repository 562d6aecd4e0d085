#include "plan/built_in_tiles.hpp"

#include <algorithm>
#include <iterator>

namespace expertile {

BuiltInTiles::BuiltInTiles(const Problem& problem, const DeviceInfo& device)
    : problem_(problem), device_(device), tiles_(built_in_tiles(problem, device)) {
  for (std::atomic<int>& place : places_) place.store(kUnknown, std::memory_order_relaxed);
}

std::size_t BuiltInTiles::place_of(std::int64_t rows) const {
  std::atomic<int>& known = places_[static_cast<std::size_t>(row_step(rows))];
  int place = known.load(std::memory_order_relaxed);
  if (place == kUnknown) {
    const auto found = std::find(tiles_.begin(), tiles_.end(), built_in_tile(tiles_, problem_, rows, device_));
    place = static_cast<int>(std::distance(tiles_.begin(), found));
    known.store(place, std::memory_order_relaxed);
  }
  return static_cast<std::size_t>(place);
}

int BuiltInTiles::known_steps() const {
  return static_cast<int>(std::count_if(places_.begin(), places_.end(), [](const std::atomic<int>& place) {
    return place.load(std::memory_order_relaxed) != kUnknown;
  }));
}

}  // namespace expertile
