// Problems: made, told, and the sizes of their tensors.

#include "capi/objects.hpp"
#include "capi/structs.hpp"
#include "capi/words.hpp"
#include "expertile/operand.hpp"
#include "problem/sizes.hpp"

namespace expertile::capi {

namespace {

Result<expertile_problem_tensors> tensors_of(const Problem& problem, std::int64_t rows) {
  if (auto status = check_rows(problem, rows); !status) return fail(status.error());
  const Operands operands = operands_of(problem);
  const ScaleSizes scales = scale_sizes(problem, rows);
  return expertile_problem_tensors{.size = sizeof(expertile_problem_tensors),
                                   .a_element = number_of(operands.a.element),
                                   .b_element = number_of(operands.b.element),
                                   .c_element = number_of(operands.c),
                                   .reserved = 0,
                                   .a_bytes = bytes_of(operands.a, shape_of_a(problem, rows)).elements,
                                   .b_bytes = bytes_of(operands.b, shape_of_b(problem)).elements,
                                   .c_bytes = bytes_of(operands.c, rows * problem.n),
                                   .scale_a_count = scales.a,
                                   .scale_b_count = scales.b};
}

}  // namespace
}  // namespace expertile::capi

extern "C" {

expertile_status expertile_problem_create(const expertile_problem_desc* desc, expertile_problem** out) {
  using namespace expertile;
  return capi::add_handle(capi::problems(), out, [&]() -> Result<Problem> {
    if (auto status = capi::check_struct(desc, "desc", "expertile_problem_desc"); !status) return fail(status.error());
    return capi::problem_of(*desc);
  });
}

expertile_status expertile_problem_describe(const expertile_problem* problem, expertile_problem_desc* desc) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    const auto found = capi::find(problem);
    if (!found) return fail(found.error());
    return capi::tell(**found, desc);
  });
}

expertile_status expertile_problem_get_tensors(const expertile_problem* problem, int64_t rows,
                                               expertile_problem_tensors* tensors) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    const auto found = capi::find(problem);
    if (!found) return fail(found.error());
    if (auto status = capi::check_struct(tensors, "tensors", "expertile_problem_tensors"); !status) return status;
    const auto sizes = capi::tensors_of(**found, rows);
    if (!sizes) return fail(sizes.error());
    capi::fill_struct(*sizes, tensors);
    return {};
  });
}

}  // extern "C"
