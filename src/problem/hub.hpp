#pragma once
// Finding a model's config.json: a path, the local Hugging Face cache, or a download.

#include <cstdint>
#include <string>

#include "expertile/error.hpp"

namespace expertile {

inline constexpr std::int64_t kMostConfigBytes = 16 << 20;

// The whole text of config.json. model: a directory, a file, or org/name.
[[nodiscard]] Result<std::string> find_model_config(const std::string& model);

}  // namespace expertile
