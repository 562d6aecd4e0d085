#pragma once
// Whole numbers of few bits in groups of K, as GPTQ and AutoRound store them. Eight bits of them have a kernel, four
// have none.

#include <cstdint>
#include <string_view>

#include "expertile/error.hpp"
#include "problem/quantisation/answer.hpp"
#include "problem/quantisation/section.hpp"

namespace expertile::quantisation {

inline constexpr std::int64_t kUnquantisedBits = 16;

struct Grouped {
  std::int64_t bits = 4;
  std::int64_t group_size = -1;  // of K; -1: one scale a channel
  bool symmetric = true;
  bool reordered = false;
};

// Fields that the section, or an exception of it, has; the others stay. group_size only where it is asked for.
[[nodiscard]] Status read_grouped(const Section& section, Grouped& grouped, bool with_group_size = true);

// format: the scheme table's; method: what the file calls it.
[[nodiscard]] Answer answer_of_grouped(const Grouped& grouped, std::string_view format, std::string_view method);

}  // namespace expertile::quantisation
