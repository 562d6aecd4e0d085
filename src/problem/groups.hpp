#pragma once
// The groups of a call, in whichever layout it tells their rows.

#include <cstdint>

#include "expertile/grouped_gemm.hpp"

namespace expertile {

// By the array that is given: masked_m, else seg_indptr_32, else seg_indptr.
[[nodiscard]] RowLayout layout_of(const GroupedGemmArgs& args) noexcept;
// How many groups there are. Reads none of the arrays.
[[nodiscard]] std::int64_t group_count(const GroupedGemmArgs& args) noexcept;

// One of them, of a call whose arrays lie in the host's memory and are right.
struct HostGroup {
  std::int64_t begin = 0;  // rows [begin, end) of A and C
  std::int64_t end = 0;
  std::int64_t expert = 0;
};
[[nodiscard]] HostGroup group_of(const GroupedGemmArgs& args, std::int64_t group) noexcept;
// Rows of all of them.
[[nodiscard]] std::int64_t rows_of_groups(const GroupedGemmArgs& args) noexcept;

}  // namespace expertile
