#include "api/validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

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

Status check_group_count(const GroupedGemmArgs& args) {
  const auto& segments = args.seg_indptr;
  if (segments.empty() || segments.data() == nullptr) {
    return fail(ErrorCode::invalid_argument, "seg_indptr is empty, it must hold one offset more than there are groups");
  }
  if (args.weight_indices.size() + 1 != segments.size()) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("weight_indices has {} entries, seg_indptr's {} offsets make {} groups",
                            args.weight_indices.size(), segments.size(), segments.size() - 1));
  }
  return {};
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

CallShapes::CallShapes(const Problem& problem)
    : problem_(problem),
      preset_(preset_of(problem)),
      scales_(scale_sizes(problem, 0)),
      scales_a_per_row_(scale_sizes(problem, 1).a - scales_.a) {}

Status CallShapes::check(const GroupedGemmArgs& args) const {
  if (args.a.rows < 0) {
    return fail(ErrorCode::invalid_argument, fmt::format("A has {} rows, it must have 0 or more", args.a.rows));
  }
  if (auto status = check_types(args); !status) return status;
  if (auto status = check_matrix("A", args.a, args.a.rows, problem_.k); !status) return status;
  if (auto status = check_matrix("B", args.b, problem_.experts * problem_.n, problem_.k); !status) return status;
  if (auto status = check_matrix("C", args.c, args.a.rows, problem_.n); !status) return status;
  if (auto status = check_group_count(args); !status) return status;
  return check_scales(args);
}

Status validate_routing(const Problem& problem, const GroupedGemmArgs& args) {
  const auto& segments = args.seg_indptr;
  if (segments.front() < 0) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("seg_indptr[0] is {}, it must be 0 or more", segments.front()));
  }
  for (std::size_t g = 0; g + 1 < segments.size(); ++g) {
    if (segments[g + 1] < segments[g]) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("seg_indptr[{}] is {}, it must not be less than seg_indptr[{}] = {}", g + 1,
                              segments[g + 1], g, segments[g]));
    }
    const std::int64_t expert = args.weight_indices[g];
    if (expert < 0 || expert >= problem.experts) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("weight_indices[{}] is {}, it must be from 0 to {}", g, expert, problem.experts - 1));
    }
  }
  if (segments.back() > args.a.rows) {
    return fail(ErrorCode::invalid_argument, fmt::format("seg_indptr[{}] is {}, A has only {} rows",
                                                         segments.size() - 1, segments.back(), args.a.rows));
  }
  return {};
}

Status validate(const Problem& problem, const GroupedGemmArgs& args) {
  if (auto status = CallShapes(problem).check(args); !status) return status;
  return validate_routing(problem, args);
}

}  // namespace expertile
