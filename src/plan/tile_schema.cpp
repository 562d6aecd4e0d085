#include "plan/tile_schema.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace expertile {
namespace {

bool is_power_of_two(int value) { return value > 0 && (value & (value - 1)) == 0; }

bool has_value_of_its_own(const TileField& field, const TileConfig& tile) {
  return tile.*field.member != field.neutral();
}

bool is_told(const TileField& field, const TileConfig& tile) {
  if (field.of(tile.kernel).kind == Values::Kind::unread) return false;
  return (field.is(kTold) && field.belongs_to(tile.kernel)) || has_value_of_its_own(field, tile);
}

}  // namespace

bool Values::hold(int value) const noexcept {
  if (kind == Kind::unread) return true;
  if (kind == Kind::listed) return std::find(list.begin(), list.begin() + listed, value) != list.begin() + listed;
  if (value < least || value > most) return false;
  return kind == Kind::powers_of_two ? is_power_of_two(value) : value % step == 0;
}

std::string Values::text() const {
  switch (kind) {
    case Kind::multiples:
      return fmt::format("a multiple of {} from {} to {}", step, least, most);
    case Kind::powers_of_two:
      return fmt::format("a power of two up to {}", most);
    case Kind::listed: {
      std::string all = std::to_string(list[0]);
      for (std::size_t i = 1; i < listed; ++i) all += fmt::format("{}{}", i + 1 < listed ? ", " : " or ", list[i]);
      return all;
    }
    case Kind::none:
    case Kind::range:
    case Kind::unread:
      break;
  }
  return fmt::format("from {} to {}", least, most);
}

std::string TileField::member_name() const {
  std::string name(key);
  for (char& letter : name) letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  return name;
}

std::string_view name(KernelFamily family) noexcept {
  switch (family) {
    case KernelFamily::cpu:
      return "cpu";
    case KernelFamily::sm80:
      return "sm80";
    case KernelFamily::sm90:
      break;
  }
  return "sm90";
}

std::optional<KernelFamily> family_named(std::string_view text) noexcept {
  for (const KernelFamily family : kFamilies) {
    if (name(family) == text) return family;
  }
  return std::nullopt;
}

std::string wrong_field(const TileConfig& tile) {
  for (const TileField& field : kTileFields) {
    const int value = tile.*field.member;
    if (!field.belongs_to(tile.kernel)) {
      if (!has_value_of_its_own(field, tile)) continue;
      return fmt::format("{}={} is not a field of family {}", field.key, value, name(tile.kernel));
    }
    const Values& values = field.of(tile.kernel);
    if (!values.hold(value)) return fmt::format("{}={} must be {}", field.key, value, values.text());
  }
  return {};
}

std::vector<std::pair<std::string, int>> tile_numbers(const TileConfig& tile) {
  std::vector<std::pair<std::string, int>> numbers;
  for (const TileField& field : kTileFields) {
    if (!field.belongs_to(tile.kernel) && !has_value_of_its_own(field, tile)) continue;
    numbers.emplace_back(field.key, tile.*field.member);
  }
  return numbers;
}

std::string describe(const TileConfig& tile) {
  std::string text;
  for (const TileField& field : kTileFields) {
    if (!is_told(field, tile)) continue;
    if (!text.empty()) text += ", ";
    text.append(field.key).append("=").append(fmt::format_int(tile.*field.member).c_str());
  }
  if (tile.kernel != KernelFamily::cpu) text.append(", kernel=").append(name(tile.kernel));
  return text;
}

}  // namespace expertile
