#pragma once
// One option's text -> its value. An error is one line that names the option, the value and what would be right.

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/error.hpp"
#include "expertile/types.hpp"
#include "problem/sizes.hpp"

namespace expertile::run {

// The whole text as a number that the type holds.
template <class Integer>
[[nodiscard]] std::optional<Integer> whole_number(std::string_view text) {
  Integer value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The parts between commas.
[[nodiscard]] std::vector<std::string_view> split(std::string_view text);

[[nodiscard]] Result<std::int64_t> parse_size(const char* option, std::string_view text,
                                              std::int64_t largest = kLargestSize);
[[nodiscard]] Result<std::optional<std::int64_t>> parse_optional_size(const char* option,
                                                                      const std::optional<std::string>& text);
// Ascending, each once; 1, 2, 4, ... 2048 where none are given.
[[nodiscard]] Result<std::vector<std::int64_t>> parse_batches(const std::optional<std::string>& text);
[[nodiscard]] Result<std::optional<BlockShape>> parse_block_shape(const std::optional<std::string>& text);
[[nodiscard]] Result<std::optional<Scales>> parse_scales(const std::optional<std::string>& text);

}  // namespace expertile::run
