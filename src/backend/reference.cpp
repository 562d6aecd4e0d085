#include "backend/reference.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "problem/sizes.hpp"

namespace expertile {
namespace {

// A group in whichever array tells its rows, read plainly.
struct Group {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t expert = 0;
};
std::vector<Group> groups_of(const GroupedGemmArgs& args) {
  std::vector<Group> groups;
  const std::size_t count = args.masked_m.empty() ? args.weight_indices.size() : args.masked_m.size();
  for (std::size_t g = 0; g < count; ++g) {
    Group group;
    group.expert = args.weight_indices.empty() ? static_cast<std::int64_t>(g) : args.weight_indices[g];
    if (!args.masked_m.empty()) {
      group.begin = static_cast<std::int64_t>(g) * args.max_m;
      group.end = group.begin + args.masked_m[g];
    } else if (!args.seg_indptr_32.empty()) {
      group.begin = args.seg_indptr_32[g];
      group.end = args.seg_indptr_32[g + 1];
    } else {
      group.begin = args.seg_indptr[g];
      group.end = args.seg_indptr[g + 1];
    }
    groups.push_back(group);
  }
  return groups;
}

// One row of A as the product sees it, scales along K included; the quantised values where the call quantises A.
std::vector<double> row_of_a(const Problem& problem, const GroupedGemmArgs& args, std::int64_t row) {
  std::vector<double> out(static_cast<std::size_t>(problem.k));
  for (std::int64_t k = 0; k < problem.k; ++k) {
    out[static_cast<std::size_t>(k)] = load_element(args.a.type, args.a.data, row * args.a.pitch + k);
  }
  if (!problem.block_shape) return out;
  const std::int64_t block = problem.block_shape->k;
  const std::int64_t blocks = ceil_div(problem.k, block);
  for (std::int64_t i = 0; i < blocks; ++i) {
    const auto first = out.begin() + i * block;
    const auto last = out.begin() + std::min(problem.k, (i + 1) * block);
    if (quantises_a(problem)) {
      float largest = 0;
      for (auto x = first; x != last; ++x) largest = std::max(largest, static_cast<float>(std::fabs(*x)));
      const float scale = largest == 0 ? 1.0F : std::max(largest / 448.0F, 0x1p-126F);
      for (auto x = first; x != last; ++x) {
        *x = static_cast<double>(to_float(to_float8_e4m3(static_cast<float>(*x) / scale))) * scale;
      }
    } else if (!args.scale_a.empty()) {
      const double scale = args.scale_a[static_cast<std::size_t>(row * blocks + i)];
      for (auto x = first; x != last; ++x) *x *= scale;
    }
  }
  return out;
}

// A column's weights, scales along K included.
std::vector<double> row_of_b(const Problem& problem, const GroupedGemmArgs& args, std::int64_t expert, std::int64_t n) {
  std::vector<double> out(static_cast<std::size_t>(problem.k));
  const std::int64_t first = (expert * problem.n + n) * args.b.pitch;
  for (std::int64_t k = 0; k < problem.k; ++k) {
    out[static_cast<std::size_t>(k)] = load_element(args.b.type, args.b.data, first + k);
  }
  if (!problem.block_shape) return out;
  const std::int64_t n_blocks = ceil_div(problem.n, problem.block_shape->n);
  const std::int64_t k_blocks = ceil_div(problem.k, problem.block_shape->k);
  const std::int64_t scales = (expert * n_blocks + n / problem.block_shape->n) * k_blocks;
  for (std::int64_t k = 0; k < problem.k; ++k) {
    out[static_cast<std::size_t>(k)] *= args.scale_b[static_cast<std::size_t>(scales + k / problem.block_shape->k)];
  }
  return out;
}

double output_scale(const Problem& problem, const GroupedGemmArgs& args, std::int64_t expert, std::int64_t row,
                    std::int64_t n) {
  const auto channel = static_cast<std::size_t>(expert * problem.n + n);
  const auto e = static_cast<std::size_t>(expert);
  switch (scales_of(problem)) {
    case Scales::per_tensor:
      return static_cast<double>(args.scale_a[e]) * args.scale_b[e];
    case Scales::per_token_channel:
      return static_cast<double>(args.scale_a[static_cast<std::size_t>(row)]) * args.scale_b[channel];
    case Scales::per_channel:
      return args.scale_b[channel];
    case Scales::none:
    case Scales::block:
      break;
  }
  return 1.0;
}

struct OutputFormat {
  double roundoff;  // half a step, relative
  double smallest;  // half of the subnormal step
  double largest;   // finite; beyond it infinity is right
};

OutputFormat format_of(ElementType type) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  switch (type) {
    case ElementType::float16:
      return {0x1p-11, 0x1p-25, 65504.0};
    case ElementType::bfloat16:
      return {0x1p-8, 0x1p-134, 0x1.fep127};
    case ElementType::float32:
      return {0x1p-24, 0x1p-150, static_cast<double>(std::numeric_limits<float>::max())};
    case ElementType::float8_e4m3:
    case ElementType::int8:
    case ElementType::int4:
    case ElementType::uint4:
    case ElementType::float4_e2m1:
    case ElementType::float8_e8m0:
      break;
  }
  return {kNaN, kNaN, kNaN};  // never C's type: no value is within such a bound
}

}  // namespace

ReferenceResult reference_grouped_gemm(const Problem& problem, const GroupedGemmArgs& args, std::int64_t every) {
  const auto size = static_cast<std::size_t>(args.a.rows * problem.n);
  ReferenceResult result{std::vector<double>(size, std::numeric_limits<double>::quiet_NaN()),
                         std::vector<double>(size, 0.0), every};
  for (const auto& [begin, end, expert] : groups_of(args)) {
    std::vector<std::vector<double>> tokens;
    for (std::int64_t row = begin; row < end; ++row) tokens.push_back(row_of_a(problem, args, row));
    for (std::int64_t n = 0; n < problem.n && !tokens.empty(); ++n) {
      const std::vector<double> b = row_of_b(problem, args, expert, n);
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        const std::int64_t row = begin + static_cast<std::int64_t>(i);
        if (!result.has(row, n)) continue;
        const std::vector<double>& a = tokens[i];
        double sum = 0;
        double magnitude = 0;
        for (std::size_t k = 0; k < b.size(); ++k) {
          const double product = a[k] * b[k];
          sum += product;
          magnitude += std::fabs(product);
        }
        const double scale = output_scale(problem, args, expert, row, n);
        result.value[static_cast<std::size_t>(row * problem.n + n)] = sum * scale;
        result.magnitude[static_cast<std::size_t>(row * problem.n + n)] = magnitude * std::fabs(scale);
      }
    }
  }
  return result;
}

// The bound. Let u = 2^-24 be float32's unit roundoff and S = sum |a b| with scales.
//  - Dequantised operands are rounded to float32 once each: 2 u S. Storage types without scales convert exactly.
//  - A float32 sum of K products in any order errs by at most (K + 1) u S (Higham, Accuracy and Stability, 3.1, with
//    one rounding a product); int8 without block scales is exact and stays within it.
//  - tf32, where the problem allows it, rounds each operand to 11 bits: 2 * 2^-11 S, and a little.
//  - Sums that are less exact than float32's are the kernel's property: sum_error S.
//  - Scaling in the epilogue and rounding to float32: 3 u S at most.
//  - Rounding to C's type: half a step of |C|, or half the subnormal step.
//  - bfloat16 products may flush subnormals to zero: at most K * 2^-126 * the largest operand each; `tiny` covers
//  operands
//    up to 2^20.
double worst_error_over_bound(const Problem& problem, const GroupedGemmArgs& args, const ReferenceResult& reference,
                              double sum_error) {
  const OutputFormat format = format_of(args.c.type);
  const double gamma = (static_cast<double>(problem.k) + 8) * 0x1p-24 + (problem.tf32 ? 0x1.01p-10 : 0.0) + sum_error;
  const double tiny = static_cast<double>(problem.k) * 0x1p-106;
  double worst = 0;
  for (const Group& group : groups_of(args)) {
    for (std::int64_t row = group.begin; row < group.end; ++row) {
      for (std::int64_t n = 0; n < problem.n; ++n) {
        const auto index = static_cast<std::size_t>(row * problem.n + n);
        const double expected = reference.value[index];
        const double actual = load_element(args.c.type, args.c.data, row * args.c.pitch + n);
        if (!reference.has(row, n)) {
          if (std::isnan(actual)) return std::numeric_limits<double>::infinity();
          continue;
        }
        if (std::isnan(expected) != std::isnan(actual)) return std::numeric_limits<double>::infinity();
        if (std::isnan(expected) || expected == actual) continue;
        const double slack = reference.magnitude[index] * gamma + tiny;
        const bool may_overflow = std::fabs(expected) + slack > format.largest * (1 - format.roundoff);
        if (std::isinf(actual) && may_overflow && std::signbit(actual) == std::signbit(expected)) continue;
        const double bound = slack + format.roundoff * (std::fabs(expected) + slack) + format.smallest;
        const double ratio = std::fabs(actual - expected) / bound;
        worst = std::isnan(ratio) ? std::numeric_limits<double>::infinity() : std::max(worst, ratio);
      }
    }
  }
  return worst;
}

}  // namespace expertile
