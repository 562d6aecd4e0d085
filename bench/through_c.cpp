#include "through_c.hpp"

#include <string_view>
#include <utility>

namespace expertile {
namespace {

// What C calls a value, by the name that both have.
template <class Value>
std::int32_t number_named(std::string_view wanted, const char* (*name_of)(Value), std::int32_t first) {
  std::int32_t number = first;
  while (name_of(static_cast<Value>(number)) != wanted) ++number;
  return number;
}

std::int32_t number_of(ElementType element) {
  return number_named(name(element), expertile_element_name, EXPERTILE_FLOAT16);
}

expertile_problem_desc in_c(const Problem& problem) {
  expertile_problem_desc desc{};
  desc.size = sizeof desc;
  desc.experts = problem.experts;
  desc.n = problem.n;
  desc.k = problem.k;
  desc.dtype = number_named(name(problem.dtype), expertile_dtype_name, EXPERTILE_DTYPE_FLOAT16);
  desc.top_k = problem.top_k;
  if (problem.block_shape) {
    desc.block_n = problem.block_shape->n;
    desc.block_k = problem.block_shape->k;
  }
  return desc;
}

template <class Matrix, class View>
Matrix matrix_in_c(const View& view) {
  return {view.data, view.rows, view.cols, view.pitch, number_of(view.type), 0};
}

}  // namespace

Status status_in_c(expertile_status status) {
  if (status == EXPERTILE_OK) return {};
  return fail(ErrorCode::internal, expertile_last_error());
}

Result<OperationsInC> OperationsInC::prepare(const Problem& problem, const std::string& device, int threads,
                                             int count) {
  const expertile_problem_desc desc = in_c(problem);
  expertile_problem* c_problem = nullptr;
  expertile_device* c_device = nullptr;
  Status status = status_in_c(expertile_problem_create(&desc, &c_problem));
  if (status) status = status_in_c(expertile_device_open(device.c_str(), threads, &c_device));
  expertile_prepare_options options{};
  options.size = sizeof options;
  options.device = c_device;
  options.config_dir = "/nonexistent";
  OperationsInC all;
  for (int i = 0; status && i < count; ++i) {
    expertile_operation* operation = nullptr;
    status = status_in_c(expertile_prepare(c_problem, &options, &operation));
    all.operations_.emplace_back(operation);
  }
  expertile_problem_destroy(c_problem);
  expertile_device_destroy(c_device);
  if (!status) return fail(status.error());
  return all;
}

expertile_grouped_gemm_args in_c(const GroupedGemmArgs& args) {
  return {.size = sizeof(expertile_grouped_gemm_args),
          .a = matrix_in_c<expertile_matrix>(args.a),
          .b = matrix_in_c<expertile_matrix>(args.b),
          .c = matrix_in_c<expertile_mutable_matrix>(args.c),
          .seg_indptr = args.seg_indptr.data(),
          .weight_indices = args.weight_indices.data(),
          .groups = static_cast<std::int64_t>(args.weight_indices.size()),
          .scale_a = args.scale_a.data(),
          .scale_a_count = static_cast<std::int64_t>(args.scale_a.size()),
          .scale_b = args.scale_b.data(),
          .scale_b_count = static_cast<std::int64_t>(args.scale_b.size()),
          .stream = args.stream,
          .workspace = args.workspace.data(),
          .workspace_bytes = args.workspace.size(),
          .seg_indptr_32 = args.seg_indptr_32.data(),
          .masked_m = args.masked_m.data(),
          .max_m = args.max_m,
          .expected_rows = args.expected_rows};
}

}  // namespace expertile
