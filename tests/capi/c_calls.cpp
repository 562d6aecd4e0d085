#include "capi/c_calls.hpp"

#include "expertile/types.hpp"
#include "problem/groups.hpp"

namespace expertile::testing {
namespace {

// By its name, which both sides know: -1 where C has no such.
template <class Name>
std::int32_t number_named(std::string_view wanted, std::int32_t first, const Name& name_of) {
  for (std::int32_t number = first; std::string_view(name_of(number)) != "?"; ++number) {
    if (name_of(number) == wanted) return number;
  }
  return -1;
}

template <class Matrix, class View>
Matrix matrix_of(const View& view) {
  return {view.data, view.rows, view.cols, view.pitch, number_of(view.type), 0};
}

// Where an array that is not given is NULL.
template <class T>
T* given(std::span<T> values) {
  return values.empty() ? nullptr : values.data();
}

}  // namespace

ProblemHandle made(const expertile_problem_desc& desc) {
  expertile_problem* problem = nullptr;
  EXPECT_EQ(expertile_problem_create(&desc, &problem), EXPERTILE_OK) << expertile_last_error();
  return ProblemHandle(problem);
}

DeviceHandle opened(const char* name, int threads) {
  expertile_device* device = nullptr;
  EXPECT_EQ(expertile_device_open(name, threads, &device), EXPERTILE_OK) << expertile_last_error();
  return DeviceHandle(device);
}

OperationHandle prepared(const expertile_problem* problem, const std::string& config_dir, expertile_row_layout rows) {
  const DeviceHandle device = opened("cpu", 2);
  const expertile_prepare_options options{.size = sizeof options,
                                          .device = device.get(),
                                          .config_dir = config_dir.c_str(),
                                          .c_element = EXPERTILE_ELEMENT_NONE,
                                          .reserved = 0,
                                          .row_layout = rows,
                                          .reserved_2 = 0};
  expertile_operation* operation = nullptr;
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(expertile_prepare(problem, &options, &operation), EXPERTILE_OK) << expertile_last_error();
  static_cast<void>(::testing::internal::GetCapturedStderr());
  return OperationHandle(operation);
}

std::int32_t number_of(ElementType element) {
  return number_named(name(element), EXPERTILE_FLOAT16, [](std::int32_t number) {
    return expertile_element_name(static_cast<expertile_element>(number));
  });
}

expertile_problem_desc desc_of(const Problem& problem) {
  const std::int32_t dtype = number_named(name(problem.dtype), 0, [](std::int32_t number) {
    return expertile_dtype_name(static_cast<expertile_dtype>(number));
  });
  const std::int32_t scales = number_named(name(scales_of(problem)), EXPERTILE_SCALES_NONE, [](std::int32_t number) {
    return expertile_scales_name(static_cast<expertile_scales>(number));
  });
  return {.size = sizeof(expertile_problem_desc),
          .experts = problem.experts,
          .n = problem.n,
          .k = problem.k,
          .dtype = dtype,
          .scales = scales,
          .block_n = problem.block_shape ? problem.block_shape->n : 0,
          .block_k = problem.block_shape ? problem.block_shape->k : 0,
          .top_k = problem.top_k,
          .hidden_size = problem.hidden_size,
          .tf32 = problem.tf32 ? 1 : 0,
          .reserved = 0};
}

expertile_grouped_gemm_args args_of(const GroupedGemmArgs& args) {
  return {.size = sizeof(expertile_grouped_gemm_args),
          .a = matrix_of<expertile_matrix>(args.a),
          .b = matrix_of<expertile_matrix>(args.b),
          .c = matrix_of<expertile_mutable_matrix>(args.c),
          .seg_indptr = given(args.seg_indptr),
          .weight_indices = given(args.weight_indices),
          .groups = group_count(args),
          .scale_a = args.scale_a.data(),
          .scale_a_count = static_cast<std::int64_t>(args.scale_a.size()),
          .scale_b = args.scale_b.data(),
          .scale_b_count = static_cast<std::int64_t>(args.scale_b.size()),
          .stream = args.stream,
          .workspace = args.workspace.data(),
          .workspace_bytes = args.workspace.size(),
          .seg_indptr_32 = given(args.seg_indptr_32),
          .masked_m = given(args.masked_m),
          .max_m = args.max_m,
          .expected_rows = args.expected_rows};
}

}  // namespace expertile::testing
