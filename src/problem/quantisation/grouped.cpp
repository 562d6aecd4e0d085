#include "problem/quantisation/grouped.hpp"

#include <fmt/format.h>

#include <optional>
#include <string>

namespace expertile::quantisation {

Status read_grouped(const Section& section, Grouped& grouped, bool with_group_size) {
  const auto bits = section.whole("bits");
  if (!bits) return fail(bits.error());
  Result<std::optional<std::int64_t>> size = std::optional<std::int64_t>();
  if (with_group_size) size = section.whole("group_size");
  if (!size) return fail(size.error());
  const auto symmetric = section.flag("sym", grouped.symmetric);
  if (!symmetric) return fail(symmetric.error());
  const auto reordered = section.flag("desc_act", grouped.reordered);
  if (!reordered) return fail(reordered.error());
  grouped = {bits->value_or(grouped.bits), size->value_or(grouped.group_size), *symmetric, *reordered};
  return {};
}

Answer answer_of_grouped(const Grouped& grouped, std::string_view format, std::string_view method) {
  const std::string words = fmt::format("{} {} bit", method, grouped.bits);
  if (grouped.bits >= kUnquantisedBits) return left_alone(std::string(method));
  if (grouped.bits != 8) return refused(words);
  if (!grouped.symmetric) return answer_by_row(format, "8 bit, not sym", words + " asymmetric");
  // Channels have no groups that an order could break.
  if (grouped.reordered && grouped.group_size != -1) {
    return answer_by_row(format, "8 bit, desc_act", words + " desc_act");
  }
  const bool channel = grouped.group_size < 1;
  if (channel) return answer_by_row(format, "8 bit, sym, group_size -1", words);
  return answer_by_row(format, "8 bit, sym, group_size g", fmt::format("{} group {}", words, grouped.group_size),
                       BlockShape{1, grouped.group_size});
}

}  // namespace expertile::quantisation
