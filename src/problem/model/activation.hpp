#pragma once
// What stands between an expert's two products, as configurations say it.

#include <optional>
#include <string>
#include <string_view>

#include "expertile/error.hpp"

namespace expertile {

struct ModelActivation {
  std::string name = "silu";
  bool is_gated = true;  // the first product is gate and up, twice the width; else up alone
};

[[nodiscard]] std::string activation_choices();
// By the names of activation_choices(), with the gate that is usual for it; none for another name.
[[nodiscard]] std::optional<ModelActivation> activation_named(std::string_view name);

namespace model {

class Sections;

struct ReadActivation {
  ModelActivation activation;
  std::string notice;  // empty, or one line: what was taken for granted
};
[[nodiscard]] ReadActivation read_activation(const Sections& sections);

}  // namespace model
}  // namespace expertile
