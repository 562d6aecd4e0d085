#pragma once
// Where a configuration keeps the numbers of its language model.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/error.hpp"
#include "problem/model/names.hpp"

namespace expertile::model {

struct FoundField {
  std::string_view name;
  const nlohmann::json* value = nullptr;  // never null in JSON's sense
};

// One section of a configuration: the first of thinker_config.text_config, text_config, language_config, llm_config and
// the top level that says how many experts there are, with its ffn_config; else the first that has a hidden size. The
// sections of vision, sound, talkers and drafts are never looked at. Views into the document, which outlives it.
class Sections {
 public:
  Sections(const nlohmann::json& root, std::string_view origin);

  // The first of the meaning's fields that is there and not null.
  [[nodiscard]] std::optional<FoundField> find(const Meaning& meaning) const;
  [[nodiscard]] std::optional<FoundField> find(std::string_view field) const;
  // Inside the section's ffn_config alone.
  [[nodiscard]] std::optional<FoundField> find_in_ffn_config(const Meaning& meaning) const;

  // A whole number from `least`; of one entry a layer that which all layers with experts have (0 stands for a layer
  // without), of one entry a modality the text's. None where no field says it. An error names the field and its value,
  // or two fields that do not agree.
  [[nodiscard]] Result<std::optional<std::int64_t>> number(const Meaning& meaning, std::int64_t least);
  [[nodiscard]] Result<std::int64_t> number(const FoundField& field, const Meaning& meaning, std::int64_t least);

  // Fields that look as if they said something of experts, with a value that could, and are not known.
  [[nodiscard]] std::vector<std::string> unknown_fields_of_experts() const;

  // What the user should know of what was read.
  [[nodiscard]] const std::vector<std::string>& notices() const { return notices_; }
  [[nodiscard]] std::string_view origin() const { return origin_; }
  [[nodiscard]] const nlohmann::json& root() const { return *root_; }

 private:
  [[nodiscard]] std::optional<FoundField> find_one_of(const Meaning& meaning,
                                                      std::span<const std::string_view> fields) const;
  [[nodiscard]] Result<const nlohmann::json*> of_all_layers(const FoundField& field, const Meaning& meaning);

  const nlohmann::json* root_;
  std::string_view origin_;
  const nlohmann::json* section_ = nullptr;
  const nlohmann::json* ffn_config_ = nullptr;
  std::vector<std::string> notices_;
};

}  // namespace expertile::model
