#pragma once
// Hostile JSON text -> a document: size, depth and repeated keys are refused before anything is built.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "expertile/error.hpp"

namespace expertile {

struct JsonLimits {
  std::int64_t bytes = 4 << 20;
  std::size_t depth = 16;
  bool refuse_repeated_keys = true;  // a repeated key would otherwise silently win
  bool python_numbers = false;       // Infinity, -Infinity and NaN are read, as the texts "Infinity" and so on
};

// The error is one line that begins with origin and names the place.
[[nodiscard]] Result<nlohmann::json> parse_json(std::string_view text, std::string_view origin,
                                                const JsonLimits& limits);

// A member that is there and not null, or nullptr; object may be any value.
[[nodiscard]] const nlohmann::json* find_member(const nlohmann::json& object, std::string_view key);

// A value as a message shows it: one line of ASCII, never longer than a line.
[[nodiscard]] std::string shown(const nlohmann::json& value);

}  // namespace expertile
