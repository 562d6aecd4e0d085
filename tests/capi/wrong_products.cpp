// The rows of the functions that read tensors.

#include "capi/wrong_calls.hpp"

namespace expertile::testing {
namespace {

std::function<expertile_status(Scene&)> with_args(const std::function<void(Scene&)>& spoil) {
  return [spoil](Scene& scene) {
    spoil(scene);
    return expertile_run(scene.gemm.get(), &scene.args);
  };
}

// Right arguments of the two problems that are not float32's own; their values do not matter.
void as_quantised(Scene& scene) {
  scene.args.a.element = scene.args.c.element = EXPERTILE_BFLOAT16;
  scene.args.b.element = EXPERTILE_FLOAT8_E4M3;
  scene.args.scale_b = scene.scale_b.data();
  scene.args.scale_b_count = 2 * 1 * 2;
}
void as_scaled(Scene& scene) {
  scene.args.a.element = scene.args.b.element = EXPERTILE_FLOAT8_E4M3;
  scene.args.scale_a = scene.scale_a.data();
  scene.args.scale_a_count = 2;
  scene.args.scale_b = scene.scale_b.data();
  scene.args.scale_b_count = 2 * 16;
}

// Two masked groups of one row each, for expertile_validate, which takes any layout.
std::function<expertile_status(Scene&)> with_masked_args(const std::function<void(Scene&)>& spoil) {
  return [spoil](Scene& scene) {
    scene.args.seg_indptr = scene.args.weight_indices = nullptr;
    scene.args.masked_m = scene.masked_m.data();
    scene.args.max_m = 1;
    spoil(scene);
    return expertile_validate(scene.problem.get(), &scene.args);
  };
}

std::vector<WrongCall> of_row_layouts() {
  return {
      {"expertile_run", "masked_m where the operation was prepared for seg_indptr", with_args([](Scene& scene) {
         scene.args.seg_indptr = nullptr;
         scene.args.masked_m = scene.masked_m.data();
         scene.args.max_m = 1;
       }),
       EXPERTILE_INVALID_ARGUMENT,
       "masked_m is given, the operation was prepared for row layout 'offsets', whose array is seg_indptr"},
      {"expertile_run", "seg_indptr and seg_indptr_32",
       with_args([](Scene& scene) { scene.args.seg_indptr_32 = scene.segments_32.data(); }), EXPERTILE_INVALID_ARGUMENT,
       "seg_indptr and seg_indptr_32 are given, one array tells which rows are a group's"},
      {"expertile_run", "max_m = 1 without masked_m", with_args([](Scene& scene) { scene.args.max_m = 1; }),
       EXPERTILE_INVALID_ARGUMENT, "max_m is 1, it goes with masked_m alone, seg_indptr is given"},
      {"expertile_run", "expected_rows = -1", with_args([](Scene& scene) { scene.args.expected_rows = -1; }),
       EXPERTILE_INVALID_ARGUMENT, "expected_rows is -1, it must be 0 or more"},
      {"expertile_validate", "seg_indptr_32 ends behind A",
       [](Scene& scene) {
         scene.segments_32[2] = 3;
         scene.args.seg_indptr = nullptr;
         scene.args.seg_indptr_32 = scene.segments_32.data();
         return expertile_validate(scene.problem.get(), &scene.args);
       },
       EXPERTILE_INVALID_ARGUMENT, "seg_indptr_32[2] is 3, A has only 2 rows"},
      {"expertile_validate", "max_m = 2 for 2 groups in 2 rows of A",
       with_masked_args([](Scene& scene) { scene.args.max_m = 2; }), EXPERTILE_INVALID_ARGUMENT,
       "A has 2 rows, it must have max_m = 2 for each of masked_m's 2 groups"},
      {"expertile_validate", "max_m = -1", with_masked_args([](Scene& scene) { scene.args.max_m = -1; }),
       EXPERTILE_INVALID_ARGUMENT, "max_m is -1, it must be 0 or more"},
      {"expertile_validate", "masked_m[1] = 2 of max_m = 1",
       with_masked_args([](Scene& scene) { scene.masked_m[1] = 2; }), EXPERTILE_INVALID_ARGUMENT,
       "masked_m[1] is 2, it must be from 0 to max_m = 1"},
      {"expertile_validate", "masked_m[0] = -1", with_masked_args([](Scene& scene) { scene.masked_m[0] = -1; }),
       EXPERTILE_INVALID_ARGUMENT, "masked_m[0] is -1, it must be from 0 to max_m = 1"},
      {"expertile_validate", "masked_m is odd", with_masked_args([](Scene& scene) {
         scene.args.masked_m =
             reinterpret_cast<const std::int32_t*>(reinterpret_cast<std::uintptr_t>(scene.masked_m.data()) + 1);
       }),
       EXPERTILE_INVALID_ARGUMENT, "masked_m is at address 0x..., it must be a multiple of its element's 4 bytes"},
      {"expertile_validate", "3 masked groups of 2 experts, without weight_indices", with_masked_args([](Scene& scene) {
         scene.masked_m = {0, 0, 0};
         scene.args.masked_m = scene.masked_m.data();
         scene.args.groups = 3;
         scene.args.a.rows = scene.args.c.rows = 3;
         scene.args.a.pitch = scene.args.c.pitch = 32;
       }),
       EXPERTILE_INVALID_ARGUMENT, "masked_m has 3 entries, without weight_indices group g is expert g of 2"},
  };
}

std::vector<WrongCall> of_calls() {
  return {
      {"expertile_run", "operation = NULL", [](Scene& scene) { return expertile_run(nullptr, &scene.args); },
       EXPERTILE_INVALID_ARGUMENT, "operation is null, expertile_prepare makes one"},
      {"expertile_run", "operation that was destroyed",
       [](Scene& scene) {
         const expertile_operation* old = scene.gemm.get();
         scene.gemm.reset();
         return expertile_run(old, &scene.args);
       },
       EXPERTILE_INVALID_ARGUMENT,
       "operation 0x... is no operation: it was destroyed, or expertile_prepare did not make it"},
      {"expertile_run", "args = NULL", [](Scene& scene) { return expertile_run(scene.gemm.get(), nullptr); },
       EXPERTILE_INVALID_ARGUMENT, "args is null, it must point to an expertile_grouped_gemm_args"},
      {"expertile_run", "args->size = 0", with_args([](Scene& scene) { scene.args.size = 0; }),
       EXPERTILE_INVALID_ARGUMENT, "args.size is 0, it must be sizeof(expertile_grouped_gemm_args), 240 bytes"},
      {"expertile_run", "a.element = 0", with_args([](Scene& scene) { scene.args.a.element = 0; }),
       EXPERTILE_INVALID_ARGUMENT,
       "a.element is 0, which names no element; choose one of 1 (float16), 2 (bfloat16), 3 (float32), 4 (float8_e4m3), "
       "5 (int8)"},
      {"expertile_run", "a.element = 77", with_args([](Scene& scene) { scene.args.a.element = 77; }),
       EXPERTILE_INVALID_ARGUMENT,
       "a.element is 77, which names no element; choose one of 1 (float16), 2 (bfloat16), 3 (float32), 4 "
       "(float8_e4m3), 5 (int8)"},
      {"expertile_run", "a.element = EXPERTILE_FLOAT16 of float32",
       with_args([](Scene& scene) { scene.args.a.element = EXPERTILE_FLOAT16; }), EXPERTILE_INVALID_ARGUMENT,
       "A is float16, dtype float32 needs float32"},
      {"expertile_run", "b.element = EXPERTILE_INT8 of float32",
       with_args([](Scene& scene) { scene.args.b.element = EXPERTILE_INT8; }), EXPERTILE_INVALID_ARGUMENT,
       "B is int8, dtype float32 needs float32"},
      {"expertile_run", "c.element = EXPERTILE_INT8",
       with_args([](Scene& scene) { scene.args.c.element = EXPERTILE_INT8; }), EXPERTILE_INVALID_ARGUMENT,
       "C is int8, it must be float16, bfloat16 or float32"},
      {"expertile_run", "a.reserved = 3", with_args([](Scene& scene) { scene.args.a.reserved = 3; }),
       EXPERTILE_INVALID_ARGUMENT, "a.reserved is 3, it must be 0"},
      {"expertile_run", "a.data = NULL", with_args([](Scene& scene) { scene.args.a.data = nullptr; }),
       EXPERTILE_INVALID_ARGUMENT, "A's data is null, it must hold [2, 32]"},
      {"expertile_run", "b.data = NULL", with_args([](Scene& scene) { scene.args.b.data = nullptr; }),
       EXPERTILE_INVALID_ARGUMENT, "B's data is null, it must hold [32, 32]"},
      {"expertile_run", "c.data = NULL", with_args([](Scene& scene) { scene.args.c.data = nullptr; }),
       EXPERTILE_INVALID_ARGUMENT, "C's data is null, it must hold [2, 16]"},
      {"expertile_run", "a.data is odd",
       with_args([](Scene& scene) { scene.args.a.data = reinterpret_cast<const char*>(scene.a.data()) + 1; }),
       EXPERTILE_INVALID_ARGUMENT, "A's data is not aligned to its element's 4 bytes"},
      {"expertile_run", "a.rows = -1", with_args([](Scene& scene) { scene.args.a.rows = -1; }),
       EXPERTILE_INVALID_ARGUMENT, "A has -1 rows, it must have 0 or more"},
      {"expertile_run", "a.rows = INT64_MAX", with_args([](Scene& scene) { scene.args.a.rows = INT64_MAX; }),
       EXPERTILE_INVALID_ARGUMENT, "A's pitch is 32: 9223372036854775807 such rows do not fit an address space"},
      {"expertile_run", "a.cols = 31", with_args([](Scene& scene) { scene.args.a.cols = 31; }),
       EXPERTILE_INVALID_ARGUMENT, "A is [2, 31], the problem needs [2, 32]"},
      {"expertile_run", "a.pitch = 16, less than its columns", with_args([](Scene& scene) { scene.args.a.pitch = 16; }),
       EXPERTILE_INVALID_ARGUMENT, "A's pitch is 16, it must be at least its 32 columns"},
      {"expertile_run", "b.rows = E * N - 1", with_args([](Scene& scene) { scene.args.b.rows = 31; }),
       EXPERTILE_INVALID_ARGUMENT, "B is [31, 32], the problem needs [32, 32]"},
      {"expertile_run", "b.pitch = INT64_MAX", with_args([](Scene& scene) { scene.args.b.pitch = INT64_MAX; }),
       EXPERTILE_INVALID_ARGUMENT, "B's pitch is 9223372036854775807: 32 such rows do not fit an address space"},
      {"expertile_run", "c.rows = 1 for 2 rows of A", with_args([](Scene& scene) { scene.args.c.rows = 1; }),
       EXPERTILE_INVALID_ARGUMENT, "C is [1, 16], the problem needs [2, 16]"},
      {"expertile_run", "c.cols = 17", with_args([](Scene& scene) { scene.args.c.cols = 17; }),
       EXPERTILE_INVALID_ARGUMENT, "C is [2, 17], the problem needs [2, 16]"},
      {"expertile_run", "groups = -1", with_args([](Scene& scene) { scene.args.groups = -1; }),
       EXPERTILE_INVALID_ARGUMENT, "groups is -1, it must be from 0 to 2147483648"},
      {"expertile_run", "groups = INT64_MAX", with_args([](Scene& scene) { scene.args.groups = INT64_MAX; }),
       EXPERTILE_INVALID_ARGUMENT, "groups is 9223372036854775807, it must be from 0 to 2147483648"},
      {"expertile_run", "seg_indptr = NULL", with_args([](Scene& scene) { scene.args.seg_indptr = nullptr; }),
       EXPERTILE_INVALID_ARGUMENT, "seg_indptr is null, by groups + 1 it must hold 3"},
      {"expertile_run", "weight_indices = NULL", with_args([](Scene& scene) { scene.args.weight_indices = nullptr; }),
       EXPERTILE_INVALID_ARGUMENT, "weight_indices is null, by groups it must hold 2"},
      {"expertile_run", "weight_indices is odd", with_args([](Scene& scene) {
         scene.args.weight_indices =
             reinterpret_cast<const std::int64_t*>(reinterpret_cast<std::uintptr_t>(scene.experts.data()) + 1);
       }),
       EXPERTILE_INVALID_ARGUMENT,
       "weight_indices is at address 0x..., it must be a multiple of its element's 8 bytes"},
      {"expertile_run", "seg_indptr[0] = -1", with_args([](Scene& scene) { scene.segments[0] = -1; }),
       EXPERTILE_INVALID_ARGUMENT, "seg_indptr[0] is -1, it must be 0 or more"},
      {"expertile_run", "seg_indptr decreases", with_args([](Scene& scene) { scene.segments[1] = 3; }),
       EXPERTILE_INVALID_ARGUMENT, "seg_indptr[2] is 2, it must not be less than seg_indptr[1] = 3"},
      {"expertile_run", "seg_indptr ends behind A", with_args([](Scene& scene) { scene.segments[2] = 3; }),
       EXPERTILE_INVALID_ARGUMENT, "seg_indptr[2] is 3, A has only 2 rows"},
      {"expertile_run", "weight_indices[1] = 2 of 2 experts", with_args([](Scene& scene) { scene.experts[1] = 2; }),
       EXPERTILE_INVALID_ARGUMENT, "weight_indices[1] is 2, it must be from 0 to 1"},
      {"expertile_run", "weight_indices[0] = -1", with_args([](Scene& scene) { scene.experts[0] = -1; }),
       EXPERTILE_INVALID_ARGUMENT, "weight_indices[0] is -1, it must be from 0 to 1"},
      {"expertile_run", "scale_a where there is none", with_args([](Scene& scene) {
         scene.args.scale_a = scene.scale_a.data();
         scene.args.scale_a_count = 2;
       }),
       EXPERTILE_INVALID_ARGUMENT, "scale_a has 2 entries, scales 'none' of dtype float32 need none: 0"},
      {"expertile_run", "scale_b_count = -5", with_args([](Scene& scene) { scene.args.scale_b_count = -5; }),
       EXPERTILE_INVALID_ARGUMENT, "scale_b_count is -5, it must not be negative"},
      {"expertile_run", "scale_b_count = 8 and scale_b = NULL",
       with_args([](Scene& scene) { scene.args.scale_b_count = 8; }), EXPERTILE_INVALID_ARGUMENT,
       "scale_b is null, by scale_b_count it must hold 8"},
      {"expertile_run", "workspace_bytes = 64 and workspace = NULL",
       with_args([](Scene& scene) { scene.args.workspace_bytes = 64; }), EXPERTILE_INVALID_ARGUMENT,
       "workspace is null, by workspace_bytes it must hold 64"},
      {"expertile_run", "no workspace where A is quantised by the call",
       [](Scene& scene) {
         as_quantised(scene);
         return expertile_run(scene.quantising.get(), &scene.args);
       },
       EXPERTILE_INVALID_ARGUMENT,
       "workspace has 0 bytes at address 0x..., quantising 2 rows of A needs 80 bytes aligned to 16"},
      {"expertile_run", "C in float32 where A in bfloat16 is quantised by the call",
       [](Scene& scene) {
         as_quantised(scene);
         scene.args.c.element = EXPERTILE_FLOAT32;
         return expertile_run(scene.quantising.get(), &scene.args);
       },
       EXPERTILE_INVALID_ARGUMENT, "C is float32, dtype bfloat16 with a block_shape writes A's type bfloat16"},
      {"expertile_validate", "problem = NULL", [](Scene& scene) { return expertile_validate(nullptr, &scene.args); },
       EXPERTILE_INVALID_ARGUMENT, "problem is null, expertile_problem_create makes one"},
      {"expertile_validate", "scale_b_count = 16 of [E, N] = 32",
       [](Scene& scene) {
         as_scaled(scene);
         scene.args.scale_b_count = 16;
         return expertile_validate(scene.scaled.get(), &scene.args);
       },
       EXPERTILE_INVALID_ARGUMENT,
       "scale_b has 16 entries, scales 'per_token_channel' of dtype fp8_w8a8 need [E, N] = 32"},
      {"expertile_validate", "scale_a_count = 1 for 2 rows of A",
       [](Scene& scene) {
         as_scaled(scene);
         scene.args.scale_a_count = 1;
         return expertile_validate(scene.scaled.get(), &scene.args);
       },
       EXPERTILE_INVALID_ARGUMENT, "scale_a has 1 entries, scales 'per_token_channel' of dtype fp8_w8a8 need [M] = 2"},
  };
}

std::vector<WrongCall> of_elements() {
  return {
      {"expertile_quantise_rows", "a = NULL",
       [](Scene& scene) { return expertile_quantise_rows(nullptr, 0, &scene.rows_out, scene.scale_a.data(), 2); },
       EXPERTILE_INVALID_ARGUMENT, "a is null, it must point to a matrix"},
      {"expertile_quantise_rows", "out = NULL",
       [](Scene& scene) { return expertile_quantise_rows(&scene.rows_in, 0, nullptr, scene.scale_a.data(), 2); },
       EXPERTILE_INVALID_ARGUMENT, "out is null, it must point to a matrix"},
      {"expertile_quantise_rows", "a->element = EXPERTILE_INT8",
       [](Scene& scene) {
         scene.rows_in.element = EXPERTILE_INT8;
         return expertile_quantise_rows(&scene.rows_in, 0, &scene.rows_out, scene.scale_a.data(), 2);
       },
       EXPERTILE_INVALID_ARGUMENT, "A is int8, it must be float16, bfloat16 or float32"},
      {"expertile_quantise_rows", "out->element = EXPERTILE_FLOAT16",
       [](Scene& scene) {
         scene.rows_out.element = EXPERTILE_FLOAT16;
         return expertile_quantise_rows(&scene.rows_in, 0, &scene.rows_out, scene.scale_a.data(), 2);
       },
       EXPERTILE_INVALID_ARGUMENT, "out is float16, it must be float8_e4m3 or int8"},
      {"expertile_quantise_rows", "out->rows = 1 for 2 rows of A",
       [](Scene& scene) {
         scene.rows_out.rows = 1;
         return expertile_quantise_rows(&scene.rows_in, 0, &scene.rows_out, scene.scale_a.data(), 2);
       },
       EXPERTILE_INVALID_ARGUMENT,
       "A is [2, 32] with pitch 32, out is [1, 32] with pitch 32: they must be of one shape, and a pitch at least its "
       "columns"},
      {"expertile_quantise_rows", "a->data = NULL",
       [](Scene& scene) {
         scene.rows_in.data = nullptr;
         return expertile_quantise_rows(&scene.rows_in, 0, &scene.rows_out, scene.scale_a.data(), 2);
       },
       EXPERTILE_INVALID_ARGUMENT, "A's data is null, it must hold [2, 32]"},
      {"expertile_quantise_rows", "a->data is odd",
       [](Scene& scene) {
         scene.rows_in.data = reinterpret_cast<const char*>(scene.a.data()) + 1;
         return expertile_quantise_rows(&scene.rows_in, 0, &scene.rows_out, scene.scale_a.data(), 2);
       },
       EXPERTILE_INVALID_ARGUMENT, "a.data is at address 0x..., it must be a multiple of its element's 4 bytes"},
      {"expertile_quantise_rows", "block_k = -1",
       [](Scene& scene) {
         return expertile_quantise_rows(&scene.rows_in, -1, &scene.rows_out, scene.scale_a.data(), 2);
       },
       EXPERTILE_INVALID_ARGUMENT, "block_k is -1, it must be 0 or more"},
      {"expertile_quantise_rows", "block_k = 16, with a scale a row",
       [](Scene& scene) {
         return expertile_quantise_rows(&scene.rows_in, 16, &scene.rows_out, scene.scale_a.data(), 2);
       },
       EXPERTILE_INVALID_ARGUMENT, "scales has 2 entries, 2 rows of 2 blocks need 4"},
      {"expertile_quantise_rows", "scale_count = -1",
       [](Scene& scene) {
         return expertile_quantise_rows(&scene.rows_in, 0, &scene.rows_out, scene.scale_a.data(), -1);
       },
       EXPERTILE_INVALID_ARGUMENT, "scale_count is -1, it must not be negative"},
      {"expertile_quantise_rows", "scales = NULL",
       [](Scene& scene) { return expertile_quantise_rows(&scene.rows_in, 0, &scene.rows_out, nullptr, 2); },
       EXPERTILE_INVALID_ARGUMENT, "scales is null, by scale_count it must hold 2"},
      {"expertile_quantise_rows", "rows = INT64_MAX, block_k = 1",
       [](Scene& scene) {
         scene.rows_in.rows = scene.rows_out.rows = INT64_MAX;
         return expertile_quantise_rows(&scene.rows_in, 1, &scene.rows_out, scene.scale_a.data(), 2);
       },
       EXPERTILE_INVALID_ARGUMENT, "9223372036854775807 rows of 32 blocks do not fit an address space"},
      {"expertile_convert", "from_element = 0",
       [](Scene& scene) {
         return expertile_convert(scene.a.data(), EXPERTILE_ELEMENT_NONE, scene.bytes.data(), EXPERTILE_INT8, 1);
       },
       EXPERTILE_INVALID_ARGUMENT,
       "from_element is 0, which names no element; choose one of 1 (float16), 2 (bfloat16), 3 (float32), 4 "
       "(float8_e4m3), 5 (int8)"},
      {"expertile_convert", "to_element = 7",
       [](Scene& scene) {
         return expertile_convert(scene.a.data(), EXPERTILE_FLOAT32, scene.bytes.data(),
                                  static_cast<expertile_element>(7), 1);
       },
       EXPERTILE_INVALID_ARGUMENT,
       "to_element is 7, which names no element; choose one of 1 (float16), 2 (bfloat16), 3 (float32), 4 "
       "(float8_e4m3), 5 (int8)"},
      {"expertile_convert", "count = -1",
       [](Scene& scene) {
         return expertile_convert(scene.a.data(), EXPERTILE_FLOAT32, scene.bytes.data(), EXPERTILE_INT8, -1);
       },
       EXPERTILE_INVALID_ARGUMENT, "count is -1, it must not be negative"},
      {"expertile_convert", "from = NULL",
       [](Scene& scene) {
         return expertile_convert(nullptr, EXPERTILE_FLOAT32, scene.bytes.data(), EXPERTILE_INT8, 64);
       },
       EXPERTILE_INVALID_ARGUMENT, "from is null, it must hold 64 elements"},
      {"expertile_convert", "to = NULL",
       [](Scene& scene) { return expertile_convert(scene.a.data(), EXPERTILE_FLOAT32, nullptr, EXPERTILE_INT8, 64); },
       EXPERTILE_INVALID_ARGUMENT, "to is null, it must hold 64 elements"},
      {"expertile_convert", "to is odd",
       [](Scene& scene) {
         return expertile_convert(scene.bytes.data(), EXPERTILE_INT8, reinterpret_cast<char*>(scene.a.data()) + 1,
                                  EXPERTILE_FLOAT32, 1);
       },
       EXPERTILE_INVALID_ARGUMENT, "to is at address 0x..., it must be a multiple of its element's 4 bytes"},
  };
}

}  // namespace

std::vector<WrongCall> wrong_products() {
  std::vector<WrongCall> all = of_calls();
  for (const auto& more : {of_row_layouts(), of_elements()}) all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace expertile::testing
