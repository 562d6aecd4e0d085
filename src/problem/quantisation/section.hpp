#pragma once
// A quantisation section, read with suspicion: a field of the wrong kind is an error with its name, never an exception.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/error.hpp"
#include "expertile/types.hpp"
#include "files/json_text.hpp"

namespace expertile::quantisation {

// An object of the document and how messages call it: "model: quantization_config", or "model:" for the outermost. The
// document outlives it.
class Section {
 public:
  Section(const nlohmann::json& object, std::string where) : object_(&object), where_(std::move(where)) {}

  [[nodiscard]] const nlohmann::json& json() const { return *object_; }
  [[nodiscard]] const std::string& where() const { return where_; }
  [[nodiscard]] std::string where(std::string_view key) const;
  [[nodiscard]] const nlohmann::json* find(std::string_view key) const { return find_member(*object_, key); }

  // A field that is absent or null is nothing; of another kind, an error.
  [[nodiscard]] Result<std::string> text(std::string_view key) const;  // "" for nothing
  [[nodiscard]] Result<std::optional<std::int64_t>> whole(std::string_view key) const;
  [[nodiscard]] Result<bool> flag(std::string_view key, bool otherwise) const;
  [[nodiscard]] Result<std::vector<std::string>> names(std::string_view key) const;   // a list of texts
  [[nodiscard]] Result<std::optional<BlockShape>> block(std::string_view key) const;  // [n, k] or "NxK"
  [[nodiscard]] Result<std::optional<Section>> object(std::string_view key) const;

  // "where: key is VALUE, it must be ..."
  [[nodiscard]] tl::unexpected<Error> refuse(std::string_view key, std::string_view must) const;

 private:
  const nlohmann::json* object_;
  std::string where_;
};

[[nodiscard]] std::string lower(std::string_view text);
[[nodiscard]] std::string upper(std::string_view text);

}  // namespace expertile::quantisation
