#pragma once
// Groups that cannot be right, made from some that are.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "support/random_problem.hpp"

namespace expertile::testing {

struct Groups {
  std::vector<std::int64_t> segments;  // [groups + 1]
  std::vector<std::int64_t> experts;   // [groups]
};
[[nodiscard]] Groups groups_of(RandomProblem& random);

// Every second group has an expert that is not there.
[[nodiscard]] Groups with_foreign_experts(Groups groups, std::int64_t experts);
// The groups that are right stay, and others come between them: offsets from one group's end over some that make no
// group (they decrease, lie below 0, past `rows`, or do so in 64 bits alone), back to where the next group begins.
[[nodiscard]] Groups with_detours(const Groups& right, std::int64_t rows);

// All of C, the padding of its rows included.
[[nodiscard]] std::vector<std::byte> bytes_of(const MatrixView& c);
// C with foreign experts, with the right ones, and before any call.
struct Found {
  const std::vector<std::byte>& found;
  const std::vector<std::byte>& wanted;
  const std::vector<std::byte>& untouched;
};
// The groups of with_foreign_experts are as they were, and all others right, to the bit.
void expect_foreign_groups_skipped(RandomProblem& random, const Groups& right, const Found& c);

}  // namespace expertile::testing
