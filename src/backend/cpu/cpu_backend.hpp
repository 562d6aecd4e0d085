#pragma once

#include <memory>
#include <optional>

#include "backend/backend.hpp"

namespace expertile::cpu {

// threads: 0 for all. isa: none for the best.
[[nodiscard]] Result<std::unique_ptr<Backend>> make_cpu_backend(int threads, std::optional<CpuIsa> isa);

}  // namespace expertile::cpu
