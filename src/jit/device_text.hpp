#pragma once
// The texts of kernels/ by the names that they include each other by; the build writes the definition.

#include <string>
#include <utility>
#include <vector>

namespace expertile::jit {

[[nodiscard]] std::vector<std::pair<std::string, std::string>> device_headers();

}  // namespace expertile::jit
