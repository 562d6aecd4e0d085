#pragma once
// A random layer's tensors copied to where a backend computes, and out copied back.

#include <vector>

#include "backend/backend.hpp"
#include "support/random_layer.hpp"

namespace expertile::testing {

class PlacedLayer {
 public:
  // Both must outlive it. Fails the process when the device has no memory for a small layer.
  PlacedLayer(const Backend& backend, RandomLayer& random, std::size_t workspace_bytes);

  // The call's arguments with pointers of the device.
  [[nodiscard]] const MoeLayerArgs& args() const { return args_; }
  // Waits, and copies out back into the random layer.
  [[nodiscard]] Status fetch();

 private:
  [[nodiscard]] void* placed(const void* data, std::size_t bytes);
  void place(ConstMatrixView& view);
  template <class T>
  void place(std::span<const T>& values) {
    values = {static_cast<const T*>(placed(values.data(), values.size_bytes())), values.size()};
  }

  const Backend& backend_;
  RandomLayer& random_;
  std::vector<Buffer> memory_;
  MoeLayerArgs args_;
};

}  // namespace expertile::testing
