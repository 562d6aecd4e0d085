#include "run/option_values.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "problem/presets.hpp"

namespace expertile::run {
namespace {

constexpr std::int64_t kLargestDefaultBatch = 2048;

}  // namespace

Result<std::int64_t> parse_size(const char* option, std::string_view text, std::int64_t largest) {
  const auto value = whole_number<std::int64_t>(text);
  if (value && *value >= 1 && *value <= largest) return *value;
  return fail(ErrorCode::invalid_argument,
              fmt::format("{} '{}' is not a size; give a whole number from 1 to {}", option, text, largest));
}

Result<std::optional<std::int64_t>> parse_optional_size(const char* option, const std::optional<std::string>& text) {
  if (!text) return std::optional<std::int64_t>{};
  const auto value = parse_size(option, *text);
  if (!value) return fail(value.error());
  return std::optional<std::int64_t>{*value};
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto comma = text.find(',');
    parts.push_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

Result<std::vector<std::int64_t>> parse_batches(const std::optional<std::string>& text) {
  std::vector<std::int64_t> batches;
  if (!text) {
    for (std::int64_t batch = 1; batch <= kLargestDefaultBatch; batch *= 2) batches.push_back(batch);
    return batches;
  }
  for (const std::string_view part : split(*text)) {
    const auto batch = parse_size("--batch-size", part);
    if (!batch) return fail(batch.error());
    batches.push_back(*batch);
  }
  std::sort(batches.begin(), batches.end());
  batches.erase(std::unique(batches.begin(), batches.end()), batches.end());
  return batches;
}

Result<std::optional<BlockShape>> parse_block_shape(const std::optional<std::string>& text) {
  if (!text) return std::optional<BlockShape>{};
  const auto parts = split(*text);
  const auto good = [](std::optional<std::int64_t> value) { return value && *value >= 1 && *value <= kLargestSize; };
  if (parts.size() == 2) {
    const auto n = whole_number<std::int64_t>(parts[0]);
    const auto k = whole_number<std::int64_t>(parts[1]);
    if (good(n) && good(k)) return std::optional<BlockShape>{BlockShape{*n, *k}};
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("--block-shape '{}' is not a block shape; give two whole numbers from 1 to {}, e.g. 128,128",
                          *text, kLargestSize));
}

Result<std::optional<Scales>> parse_scales(const std::optional<std::string>& text) {
  if (!text) return std::optional<Scales>{};
  std::vector<std::string_view> choices;
  for (const Scales one : {Scales::per_tensor, Scales::per_token_channel, Scales::per_channel, Scales::block}) {
    if (name(one) == *text) return std::optional<Scales>{one};
    choices.push_back(name(one));
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("--scales '{}' is not known; choose {}", *text, join(choices, "or")));
}

}  // namespace expertile::run
