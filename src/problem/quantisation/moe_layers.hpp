#pragma once
// Which of a model's layers have experts: others are dense, and what quantisation they have is nobody's question here.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "expertile/error.hpp"

namespace expertile::quantisation {

struct MoeLayers {
  std::vector<std::int64_t> numbers;  // ascending, never empty
  bool counted = false;               // the file says how many layers there are
};

// objects: of config.json, the outermost first. Where they do not count the layers, the highest number that the
// section's names have does, and a number of layers is taken where that is none. An error names a count out of range.
[[nodiscard]] Result<MoeLayers> moe_layers(const std::vector<const nlohmann::json*>& objects,
                                           const nlohmann::json& section, std::string_view origin);

}  // namespace expertile::quantisation
