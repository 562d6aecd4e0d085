#pragma once
// How random routing deals a call's rows to groups, and so how many tiles a group has.

#include <cstdint>

namespace expertile::gpu {

// Of one of `groups` groups, to which random routing deals `mean` rows each on average.
struct RowsOfAGroup {
  double mean = 1;
  double groups = 1;
  [[nodiscard]] double deviation() const;
  // The chance that it has more rows than that.
  [[nodiscard]] double chance_of_more(double than) const;
};
// Of a call with so many rows: 1 at least.
[[nodiscard]] RowsOfAGroup rows_of_a_group(std::int64_t rows, double active_groups);
// chance_of_more(first), of (first + step) and so on, `count` of them, added up to 1e-9 of the sum; its work does not
// grow with rows or count.
inline constexpr int kMostTerms = 64;
struct ChanceSum {
  double value = 0;
  int terms = 0;  // chances that were worked out one by one, kMostTerms at most
};
[[nodiscard]] ChanceSum sum_of_chances(const RowsOfAGroup& rows, double first, double step, double count);
// Parts of `part` rows that hold the group's rows on average.
[[nodiscard]] double expected_parts(const RowsOfAGroup& rows, int part);

}  // namespace expertile::gpu
