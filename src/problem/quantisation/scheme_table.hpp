#pragma once
// What each quantisation scheme that a checkpoint may have becomes. Readers ask this table, and docs print it.

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "problem/quantisation/quantisation.hpp"

namespace expertile::quantisation {

enum class Outcome {
  fp8_per_tensor,
  fp8_per_token_channel,
  fp8_block,
  int8_per_token_channel,
  int8_block,
  w8a16_per_channel,
  w8a16_group,  // of K: a block of one row
  w8a16_block,
  refused,
};

// A row of scheme_rows() that readers look up: format and said are its key.
[[nodiscard]] const SchemeRow* find_scheme(std::string_view format, std::string_view said);

// The scheme that an outcome is; block for those that have one.
[[nodiscard]] ExpertScheme scheme_of(Outcome outcome, std::optional<BlockShape> block);

[[nodiscard]] bool has_block(Outcome outcome);

}  // namespace expertile::quantisation
