#pragma once
// The two halves of validate(problem, args): what can be checked anywhere, and what needs the host to read the routing.

#include <optional>

#include "expertile/grouped_gemm.hpp"
#include "problem/presets.hpp"
#include "problem/sizes.hpp"

namespace expertile {

// What the shapes of all calls of a problem are held against: worked out once, for a call has a microsecond for it.
class CallShapes {
 public:
  // layout: that all calls must have; none: whichever a call has.
  explicit CallShapes(const Problem& problem, std::optional<RowLayout> layout = {});
  // Pointers, shapes, types, pitches and scales.
  [[nodiscard]] Status check(const GroupedGemmArgs& args) const;

 private:
  [[nodiscard]] Status check_types(const GroupedGemmArgs& args) const;
  [[nodiscard]] Status check_scales(const GroupedGemmArgs& args) const;

  [[nodiscard]] Status check_layout(const GroupedGemmArgs& args) const;

  Problem problem_;
  std::optional<RowLayout> layout_;
  const Preset& preset_;
  ScaleSizes scales_;              // of a call without rows
  std::int64_t scales_a_per_row_;  // more, for each row of A
};
// The values of the arrays that tell the groups, which lie in the host's memory.
[[nodiscard]] Status validate_routing(const Problem& problem, const GroupedGemmArgs& args);

// Rows, columns, pitch, pointer and its alignment of the matrix called `what`.
[[nodiscard]] Status check_matrix(const char* what, const ConstMatrixView& m, std::int64_t rows, std::int64_t cols);

}  // namespace expertile
