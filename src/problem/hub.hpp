#pragma once
// Finding a model's config.json, and what lies beside it: a path, the local Hugging Face cache, or a download.

#include <cstdint>
#include <optional>
#include <string>

#include "expertile/error.hpp"

namespace expertile {

inline constexpr std::int64_t kMostConfigBytes = 16 << 20;

// The whole text of config.json. model: a directory, a file, or org/name.
[[nodiscard]] Result<std::string> find_model_config(const std::string& model);

// hf_quant_config.json beside it, where NVIDIA's tool puts the quantisation.
struct QuantisationFile {
  std::optional<std::string> text;  // whole; none where there is no such file
  std::string notice;               // one line where that could not be found out
};
[[nodiscard]] Result<QuantisationFile> find_quantisation_config(const std::string& model);

}  // namespace expertile
