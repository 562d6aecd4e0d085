#pragma once

#include <memory>
#include <string_view>

#include "backend/backend.hpp"

namespace expertile::cpu {

// threads: 0 for all. isa: empty for the best, or one of DeviceInfo::isa's values.
[[nodiscard]] Result<std::unique_ptr<Backend>> make_cpu_backend(int threads, std::string_view isa);

}  // namespace expertile::cpu
