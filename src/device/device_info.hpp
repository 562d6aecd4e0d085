#pragma once
// What the rooms ask of a device's numbers.

#include <cstdint>
#include <string>
#include <string_view>

#include "expertile/device.hpp"

namespace expertile {

// The last cache before memory: what timing must not find warm.
[[nodiscard]] std::int64_t last_cache_bytes(const DeviceInfo& device);

// A device's name as it stands in paths: "NVIDIA H200" -> "NVIDIA_H200".
[[nodiscard]] std::string path_name(std::string_view text);

}  // namespace expertile
