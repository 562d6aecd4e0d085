#pragma once
// The sizes of a model's routed experts, each as the file says it or with the reason why it does not say it.

#include <cstdint>
#include <optional>

#include "expertile/error.hpp"
#include "problem/model/sections.hpp"

namespace expertile::model {

struct ExpertSizes {
  Result<std::optional<std::int64_t>> experts;  // none: a dense model, and then what follows is not looked at
  Result<std::int64_t> top_k = 0;
  Result<std::int64_t> intermediate = 0;                   // one expert's width
  Result<std::optional<std::int64_t>> expert_hidden_size;  // none: the model's hidden size
};

[[nodiscard]] ExpertSizes read_expert_sizes(Sections& sections);
[[nodiscard]] Result<std::int64_t> read_hidden_size(Sections& sections);

}  // namespace expertile::model
