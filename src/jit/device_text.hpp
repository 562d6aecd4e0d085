#pragma once
// The texts of kernels/ by the names that they include each other by.

#include <memory>
#include <vector>

#include "jit/nvrtc.hpp"

namespace expertile::jit {

// What every kernel's source includes from; made once.
[[nodiscard]] std::shared_ptr<const Headers> device_headers();
// Its texts; the build writes the definition.
[[nodiscard]] std::vector<Header> device_texts();

}  // namespace expertile::jit
