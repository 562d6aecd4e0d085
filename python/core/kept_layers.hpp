#pragma once
// The layers that fused_moe has prepared: each once, for the life of the process.

#include <expertile/moe_layer.h>

#include <string>

#include "call.hpp"

namespace expertile::python {

struct KeptLayer {
  expertile_layer* handle = nullptr;
  expertile_device* opened = nullptr;
};

struct LayerKey {
  expertile_layer_desc desc{};
  int device = -1;         // a GPU's index; -1: the host
  std::string config_dir;  // empty: the default
};

// Prepares it at the first such call, without the interpreter's lock. Null with an exception.
[[nodiscard]] const KeptLayer* find_layer(const LayerKey& key);

}  // namespace expertile::python
