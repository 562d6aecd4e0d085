#include "api/validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "problem/groups.hpp"
#include "problem/presets.hpp"
#include "problem/sizes.hpp"

namespace expertile {
namespace {

bool contains(std::span<const ElementType> types, ElementType type) {
  return std::find(types.begin(), types.end(), type) != types.end();
}

// fits: the types that the problem's preset has for the operand; multiplied: those that any preset has.
Status refuse_element(const char* what, const Problem& problem, ElementType type, std::span<const ElementType> fits,
                      std::span<const ElementType> multiplied) {
  const std::string needed = fmt::format("dtype {}{} needs {}", name(problem.dtype),
                                         problem.block_shape ? " with a block_shape" : "", join(fits, "or"));
  if (contains(multiplied, type)) {
    return fail(ErrorCode::invalid_argument, fmt::format("{} is {}, {}", what, name(type), needed));
  }
  return fail(ErrorCode::unsupported, fmt::format("{} is {}: no kernel multiplies it, only {}; {}", what, name(type),
                                                  join(multiplied, "and"), needed));
}

// What messages call the array that a layout has.
const char* array_of(RowLayout layout) {
  switch (layout) {
    case RowLayout::offsets_32:
      return "seg_indptr_32";
    case RowLayout::masked:
      return "masked_m";
    case RowLayout::offsets:
      break;
  }
  return "seg_indptr";
}

// offsets: of seg_indptr or seg_indptr_32.
Status check_offset_count(const char* what, std::size_t offsets, std::size_t groups) {
  if (offsets == 0) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} is empty, it must hold one offset more than there are groups", what));
  }
  if (groups + 1 != offsets) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("weight_indices has {} entries, {}'s {} offsets make {} groups", groups, what, offsets,
                            offsets - 1));
  }
  return {};
}

Status check_masked_count(const Problem& problem, const GroupedGemmArgs& args) {
  const auto groups = static_cast<std::int64_t>(args.masked_m.size());
  if (args.max_m < 0) {
    return fail(ErrorCode::invalid_argument, fmt::format("max_m is {}, it must be 0 or more", args.max_m));
  }
  std::int64_t rows = 0;
  if (__builtin_mul_overflow(groups, args.max_m, &rows) || rows != args.a.rows) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("A has {} rows, it must have max_m = {} for each of masked_m's {} groups", args.a.rows,
                            args.max_m, groups));
  }
  if (args.weight_indices.empty() && groups > problem.experts) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("masked_m has {} entries, without weight_indices group g is expert g of {}", groups,
                            problem.experts));
  }
  if (!args.weight_indices.empty() && args.weight_indices.size() != args.masked_m.size()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("weight_indices has {} entries, masked_m's {} counts are of {} "
                            "groups; give one each, or none where group g is expert g",
                            args.weight_indices.size(), groups, groups));
  }
  return {};
}

Status check_group_count(const Problem& problem, const GroupedGemmArgs& args) {
  switch (layout_of(args)) {
    case RowLayout::masked:
      return check_masked_count(problem, args);
    case RowLayout::offsets_32:
      return check_offset_count("seg_indptr_32", args.seg_indptr_32.size(), args.weight_indices.size());
    case RowLayout::offsets:
      break;
  }
  return check_offset_count("seg_indptr", args.seg_indptr.data() == nullptr ? 0 : args.seg_indptr.size(),
                            args.weight_indices.size());
}

// "[E, ceil(N/bn), ceil(K/bk)] =", of a preset's scales.
std::string shape_text(const std::optional<ScaleSpec>& scales, const char* by_row, const char* by_block) {
  if (!scales) return "none:";
  const char* rows = scales->rows == 0 ? "E" : scales->rows == kOfBlockShape ? by_block : by_row;
  return fmt::format("[{}{}] =", rows, scales->k == 0 ? "" : ", ceil(K/bk)");
}

Status refuse_scale(const char* what, std::span<const float> scale, std::int64_t needed, const std::string& shape,
                    const Problem& problem) {
  return fail(ErrorCode::invalid_argument,
              fmt::format("{} has {} entries, scales '{}' of dtype {} need {} {}", what, scale.size(),
                          name(scales_of(problem)), name(problem.dtype), shape, needed));
}

}  // namespace

Status check_matrix(const char* what, const ConstMatrixView& m, std::int64_t rows, std::int64_t cols) {
  if (m.rows != rows || m.cols != cols) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} is [{}, {}], the problem needs [{}, {}]", what, m.rows, m.cols, rows, cols));
  }
  if (m.pitch < m.cols) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}'s pitch is {}, it must be at least its {} columns", what, m.pitch, m.cols));
  }
  const auto element = static_cast<std::int64_t>(size_of(m.type));
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(m.pitch, m.rows, &bytes) || __builtin_mul_overflow(bytes, element, &bytes)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}'s pitch is {}: {} such rows do not fit an address space", what, m.pitch, m.rows));
  }
  if (m.rows > 0 && m.data == nullptr) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}'s data is null, it must hold [{}, {}]", what, rows, cols));
  }
  if (reinterpret_cast<std::uintptr_t>(m.data) % static_cast<std::uintptr_t>(element) != 0) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}'s data is not aligned to its element's {} bytes", what, element));
  }
  return {};
}

Status CallShapes::check_types(const GroupedGemmArgs& args) const {
  const ElementType b = preset_.b.element;
  if (args.b.type != b) return refuse_element("B", problem_, args.b.type, {&b, 1}, types_of_b());
  if (args.a.type != preset_.a.element && args.a.type != preset_.other_a) {
    return refuse_element("A", problem_, args.a.type, types_of_a(preset_), types_of_a());
  }
  if (!contains(types_of_c(), args.c.type)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("C is {}, it must be {}", name(args.c.type), join(types_of_c(), "or")));
  }
  if (preset_.quantised_a && args.c.type != args.a.type) {
    return fail(ErrorCode::invalid_argument, fmt::format("C is {}, dtype {} with a block_shape writes A's type {}",
                                                         name(args.c.type), name(problem_.dtype), name(args.a.type)));
  }
  return {};
}

Status CallShapes::check_scales(const GroupedGemmArgs& args) const {
  const ScaleSizes need{scales_.a + args.a.rows * scales_a_per_row_, scales_.b};
  const auto fits = [](std::span<const float> scale, std::int64_t needed) {
    return static_cast<std::int64_t>(scale.size()) == needed && (needed == 0 || scale.data() != nullptr);
  };
  if (!fits(args.scale_a, need.a)) {
    return refuse_scale("scale_a", args.scale_a, need.a, shape_text(preset_.a.scales, "M", ""), problem_);
  }
  if (!fits(args.scale_b, need.b)) {
    return refuse_scale("scale_b", args.scale_b, need.b, shape_text(preset_.b.scales, "E, N", "E, ceil(N/bn)"),
                        problem_);
  }
  return {};
}

// One array tells the groups' rows, and it is that of the layout.
Status CallShapes::check_layout(const GroupedGemmArgs& args) const {
  const RowLayout given = layout_of(args);
  const bool has_offsets = !args.seg_indptr.empty();
  if ((given != RowLayout::offsets && has_offsets) || (given == RowLayout::masked && !args.seg_indptr_32.empty())) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} and {} are given, one array tells which rows are a group's",
                            has_offsets ? "seg_indptr" : "seg_indptr_32", array_of(given)));
  }
  if (layout_ && given != *layout_ && (given != RowLayout::offsets || has_offsets)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} is given, the operation was prepared for row layout '{}', whose array is {}",
                            array_of(given), name(*layout_), array_of(*layout_)));
  }
  if (layout_ && given != *layout_) {
    return fail(ErrorCode::invalid_argument, fmt::format("{} is not given, the operation was prepared for row layout "
                                                         "'{}'",
                                                         array_of(*layout_), name(*layout_)));
  }
  if (given != RowLayout::masked && args.max_m != 0) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("max_m is {}, it goes with masked_m alone, {} is given", args.max_m, array_of(given)));
  }
  if (args.expected_rows < 0) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("expected_rows is {}, it must be 0 or more", args.expected_rows));
  }
  return {};
}

CallShapes::CallShapes(const Problem& problem, std::optional<RowLayout> layout)
    : problem_(problem),
      layout_(layout),
      preset_(preset_of(problem)),
      scales_(scale_sizes(problem, 0)),
      scales_a_per_row_(scale_sizes(problem, 1).a - scales_.a) {}

Status CallShapes::check(const GroupedGemmArgs& args) const {
  if (args.a.rows < 0) {
    return fail(ErrorCode::invalid_argument, fmt::format("A has {} rows, it must have 0 or more", args.a.rows));
  }
  if (auto status = check_layout(args); !status) return status;
  if (auto status = check_types(args); !status) return status;
  if (auto status = check_matrix("A", args.a, args.a.rows, problem_.k); !status) return status;
  if (auto status = check_matrix("B", args.b, problem_.experts * problem_.n, problem_.k); !status) return status;
  if (auto status = check_matrix("C", args.c, args.a.rows, problem_.n); !status) return status;
  if (auto status = check_group_count(problem_, args); !status) return status;
  return check_scales(args);
}

namespace {

template <class Offset>
Status validate_offsets(const char* what, std::span<const Offset> segments, std::int64_t rows) {
  if (segments.front() < 0) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}[0] is {}, it must be 0 or more", what, segments.front()));
  }
  for (std::size_t g = 0; g + 1 < segments.size(); ++g) {
    if (segments[g + 1] >= segments[g]) continue;
    return fail(ErrorCode::invalid_argument, fmt::format("{0}[{1}] is {2}, it must not be less than {0}[{3}] = {4}",
                                                         what, g + 1, segments[g + 1], g, segments[g]));
  }
  if (segments.back() > rows) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}[{}] is {}, A has only {} rows", what, segments.size() - 1, segments.back(), rows));
  }
  return {};
}

Status validate_counts(const GroupedGemmArgs& args) {
  for (std::size_t g = 0; g < args.masked_m.size(); ++g) {
    if (args.masked_m[g] >= 0 && args.masked_m[g] <= args.max_m) continue;
    return fail(ErrorCode::invalid_argument,
                fmt::format("masked_m[{}] is {}, it must be from 0 to max_m = {}", g, args.masked_m[g], args.max_m));
  }
  return {};
}

Status validate_rows(const GroupedGemmArgs& args) {
  switch (layout_of(args)) {
    case RowLayout::masked:
      return validate_counts(args);
    case RowLayout::offsets_32:
      return validate_offsets("seg_indptr_32", args.seg_indptr_32, args.a.rows);
    case RowLayout::offsets:
      break;
  }
  return validate_offsets("seg_indptr", args.seg_indptr, args.a.rows);
}

}  // namespace

Status validate_routing(const Problem& problem, const GroupedGemmArgs& args) {
  if (auto status = validate_rows(args); !status) return status;
  for (std::size_t g = 0; g < args.weight_indices.size(); ++g) {
    const std::int64_t expert = args.weight_indices[g];
    if (expert >= 0 && expert < problem.experts) continue;
    return fail(ErrorCode::invalid_argument,
                fmt::format("weight_indices[{}] is {}, it must be from 0 to {}", g, expert, problem.experts - 1));
  }
  return {};
}

Status validate(const Problem& problem, const GroupedGemmArgs& args) {
  if (auto status = CallShapes(problem).check(args); !status) return status;
  return validate_routing(problem, args);
}

}  // namespace expertile
