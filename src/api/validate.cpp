#include "api/validate.hpp"

#include <fmt/format.h>

#include <limits>
#include <utility>

#include "problem/sizes.hpp"

namespace expertile {
namespace {

bool is_float_type(ElementType type) {
  return type == ElementType::float16 || type == ElementType::bfloat16 || type == ElementType::float32;
}

Status check_matrix(const char* what, const ConstMatrixView& m, std::int64_t rows, std::int64_t cols) {
  if (m.rows != rows || m.cols != cols) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} is [{}, {}], the problem needs [{}, {}]", what, m.rows, m.cols, rows, cols));
  }
  if (m.pitch < m.cols) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}'s pitch is {}, it must be at least its {} columns", what, m.pitch, m.cols));
  }
  const auto limit = std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(size_of(m.type));
  if (m.rows > 0 && m.pitch > limit / m.rows) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}'s pitch is {}: {} such rows do not fit an address space", what, m.pitch, m.rows));
  }
  if (m.rows > 0 && m.data == nullptr) {
    return fail(ErrorCode::invalid_argument, fmt::format("{}'s data is null, it must hold [{}, {}]", what, rows, cols));
  }
  const auto alignment = size_of(m.type);
  if (reinterpret_cast<std::uintptr_t>(m.data) % alignment != 0) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{}'s data is not aligned to its element's {} bytes", what, alignment));
  }
  return {};
}

Status check_types(const Problem& problem, const GroupedGemmArgs& args) {
  const ElementType weights = weight_type(problem);
  if (args.b.type != weights) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("B is {}, dtype {}{} needs {}", name(args.b.type), name(problem.dtype),
                            problem.block_shape ? " with a block_shape" : "", name(weights)));
  }
  if (problem.dtype == DType::int8_w8a16) {
    if (args.a.type != ElementType::float16 && args.a.type != ElementType::bfloat16) {
      return fail(ErrorCode::invalid_argument,
                  fmt::format("A is {}, dtype int8_w8a16 needs float16 or bfloat16", name(args.a.type)));
    }
  } else if (args.a.type != activation_type(problem.dtype)) {
    return fail(ErrorCode::invalid_argument, fmt::format("A is {}, dtype {} needs {}", name(args.a.type),
                                                         name(problem.dtype), name(activation_type(problem.dtype))));
  }
  if (!is_float_type(args.c.type)) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("C is {}, it must be float16, bfloat16 or float32", name(args.c.type)));
  }
  if (quantises_a(problem) && args.c.type != args.a.type) {
    return fail(ErrorCode::invalid_argument, fmt::format("C is {}, dtype {} with a block_shape writes A's type {}",
                                                         name(args.c.type), name(problem.dtype), name(args.a.type)));
  }
  return {};
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

Status check_scale(const char* what, std::span<const float> scale, std::int64_t needed, const char* shape,
                   const Problem& problem) {
  const auto given = static_cast<std::int64_t>(scale.size());
  if (given == needed && (needed == 0 || scale.data() != nullptr)) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("{} has {} entries, scales '{}' of dtype {} need {} {}", what, given,
                          name(scales_of(problem)), name(problem.dtype), shape, needed));
}

struct ScaleShapes {
  const char* a = "none:";
  const char* b = "none:";
};

ScaleShapes scale_shapes(Scales scales, bool a_has_blocks) {
  switch (scales) {
    case Scales::none:
      return {};
    case Scales::per_tensor:
      return {"[E] =", "[E] ="};
    case Scales::per_token_channel:
      return {"[M] =", "[E, N] ="};
    case Scales::per_channel:
      return {"none:", "[E, N] ="};
    case Scales::block:
      break;
  }
  return {a_has_blocks ? "[M, ceil(K/bk)] =" : "none:", "[E, ceil(N/bn), ceil(K/bk)] ="};
}

Status check_scales(const Problem& problem, const GroupedGemmArgs& args) {
  const ScaleSizes need = scale_sizes(problem, args.a.rows);
  const ScaleShapes shapes = scale_shapes(scales_of(problem), scale_sizes(problem, 1).a > 0);
  if (auto status = check_scale("scale_a", args.scale_a, need.a, shapes.a, problem); !status) return status;
  return check_scale("scale_b", args.scale_b, need.b, shapes.b, problem);
}

}  // namespace

Status validate_shapes(const Problem& problem, const GroupedGemmArgs& args) {
  if (args.a.rows < 0) {
    return fail(ErrorCode::invalid_argument, fmt::format("A has {} rows, it must have 0 or more", args.a.rows));
  }
  const ConstMatrixView c{args.c.data, args.c.rows, args.c.cols, args.c.pitch, args.c.type};
  if (auto status = check_types(problem, args); !status) return status;
  if (auto status = check_matrix("A", args.a, args.a.rows, problem.k); !status) return status;
  if (auto status = check_matrix("B", args.b, problem.experts * problem.n, problem.k); !status) return status;
  if (auto status = check_matrix("C", c, args.a.rows, problem.n); !status) return status;
  if (auto status = check_group_count(args); !status) return status;
  return check_scales(problem, args);
}

Status validate_routing(const Problem& problem, const GroupedGemmArgs& args) {
  const auto& segments = args.seg_indptr;
  if (segments.front() != 0) {
    return fail(ErrorCode::invalid_argument, fmt::format("seg_indptr[0] is {}, it must be 0", segments.front()));
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
  if (auto status = validate_shapes(problem, args); !status) return status;
  return validate_routing(problem, args);
}

}  // namespace expertile
