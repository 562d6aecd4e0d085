#include "support/broken_groups.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>

namespace expertile::testing {
namespace {

using Numbers = std::vector<std::int64_t>;

constexpr std::int64_t kFarAway = std::int64_t{1} << 40;
constexpr std::int64_t kWrapsToNothing = std::int64_t{1} << 32;  // a whole group where only 32 bits are looked at

}  // namespace

Groups groups_of(RandomProblem& random) {
  const GroupedGemmArgs args = random.args();
  return {random.segments, {args.weight_indices.begin(), args.weight_indices.end()}};
}

Groups with_foreign_experts(Groups groups, std::int64_t experts) {
  const Numbers foreign = {-1, experts, kFarAway, -kFarAway, kWrapsToNothing};
  for (std::size_t g = 0; g < groups.experts.size(); g += 2) groups.experts[g] = foreign[g / 2 % foreign.size()];
  return groups;
}

Groups with_detours(const Groups& right, std::int64_t rows) {
  Groups broken;
  for (std::size_t g = 0; g < right.experts.size(); ++g) {
    const std::int64_t begin = right.segments[g];
    const Numbers detours[] = {
        {begin / 2, rows + 1},             // decreases, ends past M, and decreases from there
        {-1},                              // begins below 0
        {kFarAway, -kFarAway},             // far away
        {kWrapsToNothing + begin + 1},     // past M by what 32 bits do not say
        {-kWrapsToNothing, rows + 1, -1},  // likewise below 0
    };
    broken.segments.push_back(begin);
    for (const std::int64_t offset : detours[g % std::size(detours)]) {
      broken.segments.push_back(offset);
      broken.experts.push_back(right.experts[g]);
    }
    broken.segments.push_back(begin);
    broken.experts.insert(broken.experts.end(), 2, right.experts[g]);  // the way back, and the group itself
  }
  broken.segments.push_back(right.segments.back());
  return broken;
}

std::vector<std::byte> bytes_of(const MatrixView& c) {
  const auto* begin = static_cast<const std::byte*>(c.data);
  return {begin, begin + c.rows * c.pitch * static_cast<std::int64_t>(size_of(c.type))};
}

void expect_foreign_groups_skipped(RandomProblem& random, const Groups& right, const Found& c) {
  const std::size_t row_bytes = c.wanted.size() / static_cast<std::size_t>(random.args().c.rows);
  for (std::size_t g = 0; g < right.experts.size(); ++g) {
    const auto begin = static_cast<std::ptrdiff_t>(row_bytes) * right.segments[g];
    const auto end = static_cast<std::ptrdiff_t>(row_bytes) * right.segments[g + 1];
    const std::vector<std::byte>& same = g % 2 == 0 ? c.untouched : c.wanted;
    EXPECT_TRUE(std::equal(c.found.begin() + begin, c.found.begin() + end, same.begin() + begin)) << "group " << g;
  }
}

}  // namespace expertile::testing
