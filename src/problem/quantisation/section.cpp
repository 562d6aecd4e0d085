#include "problem/quantisation/section.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "files/json_text.hpp"
#include "problem/sizes.hpp"

namespace expertile::quantisation {
namespace {

using Json = nlohmann::json;

std::optional<std::int64_t> size_of(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::int64_t> size_of(const Json& value) {
  if (!value.is_number_integer() || value > kLargestSize) return std::nullopt;
  return value.get<std::int64_t>();
}

// [n, k] or "NxK".
std::optional<BlockShape> block_of(const Json& value) {
  std::optional<std::int64_t> n;
  std::optional<std::int64_t> k;
  if (value.is_array() && value.size() == 2) {
    n = size_of(value[0]);
    k = size_of(value[1]);
  } else if (value.is_string()) {
    const std::string_view text = value.get_ref<const std::string&>();
    const std::size_t x = text.find('x');
    if (x == std::string_view::npos) return std::nullopt;
    n = size_of(text.substr(0, x));
    k = size_of(text.substr(x + 1));
  }
  if (!n || !k || *n < 1 || *k < 1 || *n > kLargestSize || *k > kLargestSize) return std::nullopt;
  return BlockShape{*n, *k};
}

template <class Change>
std::string changed(std::string_view text, Change change) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), change);
  return result;
}

}  // namespace

std::string Section::where(std::string_view key) const {
  return fmt::format("{}{}{}", where_, where_.ends_with(':') ? " " : ".", key);
}

tl::unexpected<Error> Section::refuse(std::string_view key, std::string_view must) const {
  const Json* value = find(key);
  return fail(ErrorCode::invalid_argument,
              fmt::format("{} is {}, it must be {}", where(key), value == nullptr ? "missing" : shown(*value), must));
}

Result<std::string> Section::text(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::string();
  if (!value->is_string()) return refuse(key, "a text");
  return value->get<std::string>();
}

Result<std::optional<std::int64_t>> Section::whole(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<std::int64_t>();
  if (!value->is_number_integer() || *value > kLargestSize || *value < -kLargestSize)
    return refuse(key, "a whole number");
  return std::optional<std::int64_t>(value->get<std::int64_t>());
}

Result<bool> Section::flag(std::string_view key, bool otherwise) const {
  const Json* value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) return refuse(key, "true or false");
  return value->get<bool>();
}

Result<std::vector<std::string>> Section::names(std::string_view key) const {
  std::vector<std::string> names;
  const Json* value = find(key);
  if (value == nullptr) return names;
  if (!value->is_array()) return refuse(key, "a list of names");
  names.reserve(value->size());
  for (const Json& entry : *value) {
    if (!entry.is_string()) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("{} has {}, every entry must be a name", where(key), shown(entry)));
    }
    names.push_back(entry.get<std::string>());
  }
  return names;
}

Result<std::optional<BlockShape>> Section::block(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<BlockShape>();
  const auto shape = block_of(*value);
  if (!shape) return refuse(key, "two whole numbers from 1");
  return shape;
}

Result<std::optional<Section>> Section::object(std::string_view key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::optional<Section>();
  if (!value->is_object()) return refuse(key, "an object");
  return std::optional<Section>(Section(*value, where(key)));
}

std::string lower(std::string_view text) {
  return changed(text, [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
}

std::string upper(std::string_view text) {
  return changed(text, [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
}

}  // namespace expertile::quantisation
