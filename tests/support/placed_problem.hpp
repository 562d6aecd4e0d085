#pragma once
// A random problem's tensors copied to where a backend computes, and C copied back.

#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "support/random_problem.hpp"

namespace expertile::testing {

class PlacedProblem {
 public:
  // Both must outlive it. Fails the process when the device has no memory for a small problem.
  PlacedProblem(const Backend& backend, RandomProblem& random);

  // The call's arguments with pointers of the device.
  [[nodiscard]] const GroupedGemmArgs& args() const { return args_; }
  // Prepares the tile, runs it, waits, and copies C back into the random problem; an error says what failed.
  [[nodiscard]] Status run(const TileConfig& tile);
  // Copies C back into the random problem.
  [[nodiscard]] Status fetch();

 private:
  [[nodiscard]] const void* placed(const void* data, std::size_t bytes);

  const Backend& backend_;
  RandomProblem& random_;
  std::vector<Buffer> memory_;
  GroupedGemmArgs args_;
};

// Plans a tile for the call's types and runs it; an error says what failed.
[[nodiscard]] Status run_tile(const Executor& executor, const Problem& problem, const TileConfig& tile,
                              const GroupedGemmArgs& args);

// Tiles of the portable GPU family that differ in everything a tile can differ in; those that can run the problem.
[[nodiscard]] std::vector<TileConfig> gpu_tiles(const Problem& problem, const DeviceInfo& device);

}  // namespace expertile::testing
