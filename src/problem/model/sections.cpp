#include "problem/model/sections.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "files/json_text.hpp"
#include "problem/sizes.hpp"

namespace expertile::model {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostNamed = 4;  // unknown fields in one message

const Json* member(const Json* object, std::string_view key) {
  return object == nullptr ? nullptr : find_member(*object, key);
}

const Json* object_at(const Json& root, std::initializer_list<std::string_view> path) {
  const Json* at = &root;
  for (const std::string_view key : path) at = member(at, key);
  return at != nullptr && at->is_object() ? at : nullptr;
}

std::optional<FoundField> first_of(std::initializer_list<const Json*> objects,
                                   std::span<const std::string_view> fields) {
  for (const std::string_view field : fields) {
    for (const Json* object : objects) {
      if (const Json* value = member(object, field)) return FoundField{field, value};
    }
  }
  return std::nullopt;
}

bool may_count(const Json& value) {
  if (value.is_number_integer()) return value > 0;
  return (value.is_array() || value.is_object()) && !value.empty();
}

}  // namespace

Sections::Sections(const Json& root, std::string_view origin) : root_(&root), origin_(origin) {
  std::vector<const Json*> places = {object_at(root, {"thinker_config", "text_config"})};
  for (const std::string_view name : text_sections()) places.push_back(object_at(root, {name}));
  places.push_back(&root);
  for (const Meaning* wanted : {&kExperts, &kHiddenSize}) {
    for (const Json* place : places) {
      if (section_ != nullptr || place == nullptr) continue;
      if (first_of({place, member(place, "ffn_config")}, wanted->fields)) section_ = place;
    }
  }
  if (section_ == nullptr) section_ = &root;
  ffn_config_ = member(section_, "ffn_config");
}

// A hidden size inside ffn_config would be the feed-forward's; at the top level there may be one for all sections.
std::optional<FoundField> Sections::find_one_of(const Meaning& meaning,
                                                std::span<const std::string_view> fields) const {
  if (&meaning != &kHiddenSize) return first_of({section_, ffn_config_}, fields);
  return first_of({section_, root_}, fields);
}

std::optional<FoundField> Sections::find(const Meaning& meaning) const { return find_one_of(meaning, meaning.fields); }

std::optional<FoundField> Sections::find(std::string_view field) const {
  return first_of({section_, ffn_config_}, {&field, 1});
}

std::optional<FoundField> Sections::find_in_ffn_config(const Meaning& meaning) const {
  return first_of({ffn_config_}, meaning.fields);
}

Result<const Json*> Sections::of_all_layers(const FoundField& field, const Meaning& meaning) {
  if (!field.value->is_array() || field.value->empty()) return field.value;
  const Json* of_all = nullptr;
  for (const Json& entry : *field.value) {
    if (entry.is_number_integer() && entry == 0) continue;
    if (of_all == nullptr) of_all = &entry;
    if (entry == *of_all) continue;
    const bool is_by_modality = field.value->size() == 2 && member(root_, "vision_config") != nullptr;
    if (is_by_modality) {
      notices_.push_back(fmt::format("{}: {} is {}, one entry for text and one for images: the text's is taken",
                                     origin_, field.name, shown(*field.value)));
      return &field.value->front();
    }
    return fail(ErrorCode::unsupported, fmt::format("{}: {} has layers of {} and of {}; give {} of the layers to tune",
                                                    origin_, field.name, shown(*of_all), shown(entry), meaning.option));
  }
  return of_all == nullptr ? &field.value->front() : of_all;
}

Result<std::int64_t> Sections::number(const FoundField& field, const Meaning& meaning, std::int64_t least) {
  const auto value = of_all_layers(field, meaning);
  if (!value) return fail(value.error());
  const Json& one = **value;
  if (!one.is_number_integer() || one < least || one > kLargestSize) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}: {} is {}, it must be a whole number from {} to {}",
                                                         origin_, field.name, shown(one), least, kLargestSize));
  }
  return one.get<std::int64_t>();
}

Result<std::optional<std::int64_t>> Sections::number(const Meaning& meaning, std::int64_t least) {
  const auto first = find(meaning);
  if (!first) return std::optional<std::int64_t>{};
  const auto value = number(*first, meaning, least);
  if (!value) return fail(value.error());
  for (const std::string_view other : meaning.fields) {
    const auto found = other == first->name ? std::nullopt : find_one_of(meaning, {&other, 1});
    if (!found) continue;
    const auto again = number(*found, meaning, least);
    if (again && *again == *value) continue;
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: {} is {} and {} is {}, and both say {}; give {}", origin_, first->name,
                            shown(*first->value), found->name, shown(*found->value), meaning.what, meaning.option));
  }
  return std::optional<std::int64_t>{*value};
}

std::vector<std::string> Sections::unknown_fields_of_experts() const {
  std::vector<std::string> names;
  for (const Json* object : {section_, ffn_config_}) {
    if (object == nullptr || !object->is_object()) continue;
    for (const auto& [key, value] : object->items()) {
      if (names.size() < kMostNamed && may_count(value) && looks_like_experts(key)) names.push_back(shown(key));
    }
  }
  return names;
}

}  // namespace expertile::model
