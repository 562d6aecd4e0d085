#include "problem/model/experts.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace expertile::model {
namespace {

// With the fields that look as if they said it.
tl::unexpected<Error> missing(const Sections& sections, const Meaning& meaning) {
  const auto unknown = sections.unknown_fields_of_experts();
  return fail(ErrorCode::invalid_argument,
              fmt::format("{}: no field that is known says {} ({}){}; give {}", sections.origin(), meaning.what,
                          fmt::join(meaning.fields, ", "),
                          unknown.empty() ? "" : fmt::format(", {} may but is not known", fmt::join(unknown, ", ")),
                          meaning.option));
}

bool is_false(const std::optional<FoundField>& field) {
  return field && field->value->is_boolean() && !field->value->get<bool>();
}

bool is_positive(const std::optional<FoundField>& field) {
  if (!field) return false;
  if (field->value->is_array()) return !field->value->empty();
  return field->value->is_number() && *field->value > 0;
}

Result<std::optional<std::int64_t>> read_experts(Sections& sections) {
  using None = std::optional<std::int64_t>;
  for (const std::string_view field : fields_that_switch_experts()) {
    if (is_false(sections.find(field))) return None();
  }
  if (!sections.find(kExperts)) {
    // Named as null, or not at all: without another sign of experts the model is dense.
    if (sections.unknown_fields_of_experts().empty()) return None();
    return missing(sections, kExperts);
  }
  const auto experts = sections.number(kExperts, 0);
  if (!experts) return fail(experts.error());
  return **experts <= 1 ? None() : experts;
}

Result<std::int64_t> required(Sections& sections, const Meaning& meaning) {
  const auto value = sections.number(meaning, 1);
  if (!value) return fail(value.error());
  if (!*value) return missing(sections, meaning);
  return **value;
}

// The width under a name that dense layers have, too.
bool shared_width_is_the_experts(const Sections& sections) {
  const auto there = [&](std::string_view field) { return sections.find(field).has_value(); };
  const auto says_something = [&](std::string_view field) { return is_positive(sections.find(field)); };
  if (std::ranges::any_of(fields_of_dense_width(), there)) return true;
  return std::ranges::none_of(fields_of_dense_layers(), says_something);
}

bool layers_have_experts_of_their_own(const Sections& sections) {
  const auto blocks = sections.find("block_configs");
  if (!blocks || !blocks->value->is_array()) return false;
  return std::ranges::any_of(*blocks->value, [](const nlohmann::json& block) {
    return block.is_object() && block.value("block_type", nlohmann::json()) == "moe";
  });
}

Result<std::int64_t> read_width(Sections& sections) {
  if (layers_have_experts_of_their_own(sections)) {
    return fail(ErrorCode::unsupported,
                fmt::format("{}: block_configs gives each layer experts of its own; give {}, {} and {} of one",
                            sections.origin(), kExperts.option, kTopK.option, kWidth.option));
  }
  const auto own = sections.number(kWidth, 1);
  if (!own) return fail(own.error());
  if (*own) return **own;
  if (const auto inside = sections.find_in_ffn_config(kWidthInFfnConfig)) {
    return sections.number(*inside, kWidthInFfnConfig, 1);
  }
  const auto shared = sections.find(kSharedWidth);
  if (!shared && sections.find(kOlderWidth)) return required(sections, kOlderWidth);
  if (!shared) {
    const auto other = sections.find(kWidthInFfnConfig);
    if (!other) return missing(sections, kWidth);
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: {} {} may be the dense layers' width, the experts' or twice that; give {}",
                            sections.origin(), other->name, other->value->dump(), kWidth.option));
  }
  if (!shared_width_is_the_experts(sections)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}: {} is the width of the dense layers or of the shared experts here, and no field that "
                            "is known says the experts' ({}); give {}",
                            sections.origin(), shared->name, fmt::join(kWidth.fields, ", "), kWidth.option));
  }
  return required(sections, kSharedWidth);
}

}  // namespace

Result<std::int64_t> read_hidden_size(Sections& sections) {
  const auto value = sections.number(kHiddenSize, 1);
  if (!value) return fail(value.error());
  if (*value) return **value;
  return fail(ErrorCode::invalid_argument, fmt::format("{}: hidden_size is missing, it must be a whole number; give {}",
                                                       sections.origin(), kHiddenSize.option));
}

ExpertSizes read_expert_sizes(Sections& sections) {
  ExpertSizes sizes;
  sizes.experts = read_experts(sections);
  if (sizes.experts && !*sizes.experts) return sizes;
  sizes.top_k = required(sections, kTopK);
  sizes.intermediate = read_width(sections);
  sizes.expert_hidden_size = sections.number(kExpertHiddenSize, 1);
  return sizes;
}

}  // namespace expertile::model
