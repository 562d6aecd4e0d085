#include "capi/wrong_calls.hpp"

#include <climits>

namespace expertile::testing {
namespace {

std::function<expertile_status(Scene&)> with_desc(const std::function<void(expertile_problem_desc&)>& spoil) {
  return [spoil](Scene& scene) {
    spoil(scene.desc);
    expertile_problem* out = nullptr;
    const expertile_status status = expertile_problem_create(&scene.desc, &out);
    EXPECT_EQ(out, nullptr);
    return status;
  };
}

// What a program would give that was compiled with a later header, and uses what is new.
expertile_status a_later_desc(Scene& scene) {
  struct {
    expertile_problem_desc known;
    std::int64_t new_field;
  } later{scene.desc, 7};
  later.known.size = sizeof later;
  expertile_problem* out = nullptr;
  return expertile_problem_create(&later.known, &out);
}

expertile_status tensors_of(Scene& scene, std::int64_t rows) {
  auto tensors = sized<expertile_problem_tensors>();
  return expertile_problem_get_tensors(scene.problem.get(), rows, &tensors);
}

expertile_status open_device(const char* name, int threads) {
  expertile_device* out = nullptr;
  return expertile_device_open(name, threads, &out);
}

expertile_status prepare(Scene& scene, const expertile_problem* problem) {
  expertile_operation* out = nullptr;
  const expertile_status status = expertile_prepare(problem, &scene.options, &out);
  EXPECT_EQ(out, nullptr);
  return status;
}

std::vector<WrongCall> of_problems() {
  return {
      {"expertile_problem_create", "desc = NULL",
       [](Scene&) {
         expertile_problem* out = nullptr;
         return expertile_problem_create(nullptr, &out);
       },
       EXPERTILE_INVALID_ARGUMENT, "desc is null, it must point to an expertile_problem_desc"},
      {"expertile_problem_create", "out = NULL",
       [](Scene& scene) { return expertile_problem_create(&scene.desc, nullptr); }, EXPERTILE_INVALID_ARGUMENT,
       "out is null, it must point to a handle"},
      {"expertile_problem_create", "size = 0", with_desc([](auto& desc) { desc.size = 0; }), EXPERTILE_INVALID_ARGUMENT,
       "desc.size is 0, it must be sizeof(expertile_problem_desc), 80 bytes"},
      {"expertile_problem_create", "size = sizeof desc - 8", with_desc([](auto& desc) { desc.size -= 8; }),
       EXPERTILE_INVALID_ARGUMENT, "desc.size is 72, it must be sizeof(expertile_problem_desc), 80 bytes"},
      {"expertile_problem_create", "size = 1 << 20", with_desc([](auto& desc) { desc.size = 1 << 20; }),
       EXPERTILE_INVALID_ARGUMENT, "desc.size is 1048576, it must be sizeof(expertile_problem_desc), 80 bytes"},
      {"expertile_problem_create", "a larger struct, its new field 7", a_later_desc, EXPERTILE_UNSUPPORTED,
       "desc has 88 bytes, expertile 0.1.0 knows the first 80 of an expertile_problem_desc, and those behind them are "
       "not 0"},
      {"expertile_problem_create", "experts = 0", with_desc([](auto& desc) { desc.experts = 0; }),
       EXPERTILE_INVALID_ARGUMENT, "experts is 0, it must be from 1 to 2147483648"},
      {"expertile_problem_create", "n = -16", with_desc([](auto& desc) { desc.n = -16; }), EXPERTILE_INVALID_ARGUMENT,
       "n is -16, it must be from 1 to 2147483648"},
      {"expertile_problem_create", "k = INT64_MAX", with_desc([](auto& desc) { desc.k = INT64_MAX; }),
       EXPERTILE_INVALID_ARGUMENT, "k is 9223372036854775807, it must be from 1 to 2147483648"},
      {"expertile_problem_create", "experts = n = k = 1 << 31",
       with_desc([](auto& desc) { desc.experts = desc.n = desc.k = std::int64_t{1} << 31; }),
       EXPERTILE_INVALID_ARGUMENT,
       "experts * n * k = 2147483648 * 2147483648 * 2147483648 is too large, its bytes must fit 63 bits"},
      {"expertile_problem_create", "dtype = 6", with_desc([](auto& desc) { desc.dtype = 6; }),
       EXPERTILE_INVALID_ARGUMENT,
       "desc.dtype is 6, which names no dtype; choose one of 0 (float16), 1 (bfloat16), 2 (float32), 3 (fp8_w8a8), 4 "
       "(int8_w8a16), 5 (int8_w8a8)"},
      {"expertile_problem_create", "dtype = -1", with_desc([](auto& desc) { desc.dtype = -1; }),
       EXPERTILE_INVALID_ARGUMENT,
       "desc.dtype is -1, which names no dtype; choose one of 0 (float16), 1 (bfloat16), 2 (float32), 3 (fp8_w8a8), 4 "
       "(int8_w8a16), 5 (int8_w8a8)"},
      {"expertile_problem_create", "scales = 9", with_desc([](auto& desc) { desc.scales = 9; }),
       EXPERTILE_INVALID_ARGUMENT,
       "desc.scales is 9, which names no scales; choose one of 1 (none), 2 (per_tensor), 3 (per_token_channel), 4 "
       "(per_channel), 5 (block)"},
      {"expertile_problem_create", "scales = INT32_MIN", with_desc([](auto& desc) { desc.scales = INT32_MIN; }),
       EXPERTILE_INVALID_ARGUMENT,
       "desc.scales is -2147483648, which names no scales; choose one of 1 (none), 2 (per_tensor), 3 "
       "(per_token_channel), 4 (per_channel), 5 (block)"},
      {"expertile_problem_create", "scales = EXPERTILE_SCALES_PER_TENSOR of float32",
       with_desc([](auto& desc) { desc.scales = EXPERTILE_SCALES_PER_TENSOR; }), EXPERTILE_INVALID_ARGUMENT,
       "scales 'per_tensor' do not fit dtype float32 without a block_shape"},
      {"expertile_problem_create", "scales = EXPERTILE_SCALES_BLOCK without a block",
       with_desc([](auto& desc) { desc.scales = EXPERTILE_SCALES_BLOCK; }), EXPERTILE_INVALID_ARGUMENT,
       "scales 'block' do not fit dtype float32 without a block_shape"},
      {"expertile_problem_create", "block_n = 128, block_k = 0", with_desc([](auto& desc) { desc.block_n = 128; }),
       EXPERTILE_INVALID_ARGUMENT,
       "block_n is 128 and block_k is 0, both must be from 1 to 2147483648, or 0 for no blocks"},
      {"expertile_problem_create", "block_n = -1, block_k = 128", with_desc([](auto& desc) {
         desc.block_n = -1;
         desc.block_k = 128;
       }),
       EXPERTILE_INVALID_ARGUMENT,
       "block_n is -1 and block_k is 128, both must be from 1 to 2147483648, or 0 for no blocks"},
      {"expertile_problem_create", "top_k = -1", with_desc([](auto& desc) { desc.top_k = -1; }),
       EXPERTILE_INVALID_ARGUMENT, "top_k is -1, it must be from 1 to 2147483648"},
      {"expertile_problem_create", "hidden_size = -4096", with_desc([](auto& desc) { desc.hidden_size = -4096; }),
       EXPERTILE_INVALID_ARGUMENT, "hidden_size is -4096, it must be from 1 to 2147483648"},
      {"expertile_problem_create", "tf32 = 2", with_desc([](auto& desc) { desc.tf32 = 2; }), EXPERTILE_INVALID_ARGUMENT,
       "desc.tf32 is 2, it must be 0 or 1"},
      {"expertile_problem_create", "tf32 = 1 of bfloat16", with_desc([](auto& desc) {
         desc.tf32 = 1;
         desc.dtype = EXPERTILE_DTYPE_BFLOAT16;
       }),
       EXPERTILE_INVALID_ARGUMENT, "tf32 is a way to multiply float32, it does not fit dtype bfloat16"},
      {"expertile_problem_create", "reserved = 1", with_desc([](auto& desc) { desc.reserved = 1; }),
       EXPERTILE_INVALID_ARGUMENT, "desc.reserved is 1, it must be 0"},
      {"expertile_problem_describe", "problem = NULL",
       [](Scene& scene) { return expertile_problem_describe(nullptr, &scene.desc); }, EXPERTILE_INVALID_ARGUMENT,
       "problem is null, expertile_problem_create makes one"},
      {"expertile_problem_describe", "problem that was destroyed",
       [](Scene& scene) {
         const expertile_problem* old = scene.problem.get();
         scene.problem.reset();
         return expertile_problem_describe(old, &scene.desc);
       },
       EXPERTILE_INVALID_ARGUMENT,
       "problem 0x... is no problem: it was destroyed, or expertile_problem_create did not make it"},
      {"expertile_problem_describe", "desc = NULL",
       [](Scene& scene) { return expertile_problem_describe(scene.problem.get(), nullptr); },
       EXPERTILE_INVALID_ARGUMENT, "desc is null, it must point to an expertile_problem_desc"},
      {"expertile_problem_describe", "desc->size not set",
       [](Scene& scene) {
         scene.desc = {};
         return expertile_problem_describe(scene.problem.get(), &scene.desc);
       },
       EXPERTILE_INVALID_ARGUMENT, "desc.size is 0, it must be sizeof(expertile_problem_desc), 80 bytes"},
      {"expertile_problem_get_tensors", "rows = -1", [](Scene& scene) { return tensors_of(scene, -1); },
       EXPERTILE_INVALID_ARGUMENT, "rows is -1, it must be from 0 to 2147483648"},
      {"expertile_problem_get_tensors", "rows = INT64_MAX", [](Scene& scene) { return tensors_of(scene, INT64_MAX); },
       EXPERTILE_INVALID_ARGUMENT, "rows is 9223372036854775807, it must be from 0 to 2147483648"},
      {"expertile_problem_get_tensors", "rows = n = 1 << 31",
       [](Scene& scene) {
         scene.desc.experts = 1;
         scene.desc.n = std::int64_t{1} << 31;
         scene.problem = made(scene.desc);
         return tensors_of(scene, std::int64_t{1} << 31);
       },
       EXPERTILE_INVALID_ARGUMENT, "rows is 2147483648: so many of 2147483648 elements do not fit an address space"},
      {"expertile_problem_get_tensors", "tensors = NULL",
       [](Scene& scene) { return expertile_problem_get_tensors(scene.problem.get(), 1, nullptr); },
       EXPERTILE_INVALID_ARGUMENT, "tensors is null, it must point to an expertile_problem_tensors"},
      {"expertile_problem_destroy", "a problem, twice",
       [](Scene& scene) {
         expertile_problem* old = scene.problem.release();
         expertile_problem_destroy(old);
         return expertile_problem_destroy(old);
       },
       EXPERTILE_INVALID_ARGUMENT,
       "problem 0x... is no problem: it was destroyed, or expertile_problem_create did not make it"},
      {"expertile_parse_dtype", "name = NULL",
       [](Scene&) {
         expertile_dtype dtype{};
         return expertile_parse_dtype(nullptr, &dtype);
       },
       EXPERTILE_INVALID_ARGUMENT,
       "name is null, it must be one of float16, bfloat16, float32, fp8_w8a8, int8_w8a16 or int8_w8a8"},
      {"expertile_parse_dtype", "name = \"fp16\"",
       [](Scene&) {
         expertile_dtype dtype{};
         return expertile_parse_dtype("fp16", &dtype);
       },
       EXPERTILE_INVALID_ARGUMENT,
       "dtype 'fp16' is not known; choose float16, bfloat16, float32, fp8_w8a8, int8_w8a16 or int8_w8a8"},
      {"expertile_parse_dtype", "dtype = NULL", [](Scene&) { return expertile_parse_dtype("float16", nullptr); },
       EXPERTILE_INVALID_ARGUMENT, "dtype is null, it must point to an expertile_dtype"},
  };
}

std::vector<WrongCall> of_devices() {
  return {
      {"expertile_device_open", "name = \"tpu\"", [](Scene&) { return open_device("tpu", 0); },
       EXPERTILE_INVALID_ARGUMENT, "device 'tpu' is not known; choose auto, cpu or cuda[:I]"},
      {"expertile_device_open", "name = \"\"", [](Scene&) { return open_device("", 0); }, EXPERTILE_INVALID_ARGUMENT,
       "device '' is not known; choose auto, cpu or cuda[:I]"},
      {"expertile_device_open", "name = \"cuda:-1\"", [](Scene&) { return open_device("cuda:-1", 0); },
       EXPERTILE_INVALID_ARGUMENT, "device 'cuda:-1' is not known; choose auto, cpu or cuda[:I]"},
      {"expertile_device_open", "threads = -1", [](Scene&) { return open_device("cpu", -1); },
       EXPERTILE_INVALID_ARGUMENT, "threads is -1, it must be from 1 to 4096, or 0 for all"},
      {"expertile_device_open", "threads = INT_MAX", [](Scene&) { return open_device("cpu", INT_MAX); },
       EXPERTILE_INVALID_ARGUMENT, "threads is 2147483647, it must be from 1 to 4096, or 0 for all"},
      {"expertile_device_open", "out = NULL", [](Scene&) { return expertile_device_open("cpu", 0, nullptr); },
       EXPERTILE_INVALID_ARGUMENT, "out is null, it must point to a handle"},
      {"expertile_device_get_info", "device = a problem",
       [](Scene& scene) {
         auto info = sized<expertile_device_info>();
         return expertile_device_get_info(reinterpret_cast<const expertile_device*>(scene.problem.get()), &info);
       },
       EXPERTILE_INVALID_ARGUMENT,
       "device 0x... is no device: it was destroyed, or expertile_device_open did not make it"},
      {"expertile_device_get_info", "info = NULL",
       [](Scene& scene) { return expertile_device_get_info(scene.device.get(), nullptr); }, EXPERTILE_INVALID_ARGUMENT,
       "info is null, it must point to an expertile_device_info"},
      {"expertile_device_destroy", "a device that no function made",
       [](Scene&) { return expertile_device_destroy(reinterpret_cast<expertile_device*>(std::uintptr_t{0x1234})); },
       EXPERTILE_INVALID_ARGUMENT,
       "device 0x... is no device: it was destroyed, or expertile_device_open did not make it"},
  };
}

std::vector<WrongCall> of_operations() {
  return {
      {"expertile_prepare", "problem = NULL", [](Scene& scene) { return prepare(scene, nullptr); },
       EXPERTILE_INVALID_ARGUMENT, "problem is null, expertile_problem_create makes one"},
      {"expertile_prepare", "problem = an address",
       [](Scene& scene) { return prepare(scene, reinterpret_cast<const expertile_problem*>(&scene)); },
       EXPERTILE_INVALID_ARGUMENT,
       "problem 0x... is no problem: it was destroyed, or expertile_problem_create did not make it"},
      {"expertile_prepare", "out = NULL",
       [](Scene& scene) { return expertile_prepare(scene.problem.get(), &scene.options, nullptr); },
       EXPERTILE_INVALID_ARGUMENT, "out is null, it must point to a handle"},
      {"expertile_prepare", "options->size = 4",
       [](Scene& scene) {
         scene.options.size = 4;
         return prepare(scene, scene.problem.get());
       },
       EXPERTILE_INVALID_ARGUMENT, "options.size is 4, it must be sizeof(expertile_prepare_options), 40 bytes"},
      {"expertile_prepare", "options->reserved = -1",
       [](Scene& scene) {
         scene.options.reserved = -1;
         return prepare(scene, scene.problem.get());
       },
       EXPERTILE_INVALID_ARGUMENT, "options.reserved is -1, it must be 0"},
      {"expertile_prepare", "options->reserved_2 = 1",
       [](Scene& scene) {
         scene.options.reserved_2 = 1;
         return prepare(scene, scene.problem.get());
       },
       EXPERTILE_INVALID_ARGUMENT, "options.reserved_2 is 1, it must be 0"},
      {"expertile_prepare", "options->row_layout = 3",
       [](Scene& scene) {
         scene.options.row_layout = 3;
         return prepare(scene, scene.problem.get());
       },
       EXPERTILE_INVALID_ARGUMENT,
       "options.row_layout is 3, which names no row layout; choose one of 0 (offsets), 1 (offsets_32), 2 (masked)"},
      {"expertile_prepare", "options->device that was destroyed",
       [](Scene& scene) {
         scene.device.reset();
         return prepare(scene, scene.problem.get());
       },
       EXPERTILE_INVALID_ARGUMENT,
       "device 0x... is no device: it was destroyed, or expertile_device_open did not make it"},
      {"expertile_prepare", "options->c_element = 8",
       [](Scene& scene) {
         scene.options.c_element = 8;
         return prepare(scene, scene.problem.get());
       },
       EXPERTILE_INVALID_ARGUMENT,
       "options.c_element is 8, which names no element; choose one of 1 (float16), 2 (bfloat16), 3 (float32), 4 "
       "(float8_e4m3), 5 (int8)"},
      {"expertile_prepare", "options->c_element = EXPERTILE_INT8",
       [](Scene& scene) {
         scene.options.c_element = EXPERTILE_INT8;
         return prepare(scene, scene.problem.get());
       },
       EXPERTILE_INVALID_ARGUMENT, "C cannot be int8, of this problem it can be bfloat16, float16, float32"},
      {"expertile_operation_workspace_bytes", "bytes = NULL",
       [](Scene& scene) { return expertile_operation_workspace_bytes(scene.gemm.get(), 1, nullptr); },
       EXPERTILE_INVALID_ARGUMENT, "bytes is null, it must point to a size_t"},
      {"expertile_operation_workspace_bytes", "rows = -1",
       [](Scene& scene) {
         std::size_t bytes = 0;
         return expertile_operation_workspace_bytes(scene.gemm.get(), -1, &bytes);
       },
       EXPERTILE_INVALID_ARGUMENT, "rows is -1, it must be from 0 to 2147483648"},
      {"expertile_operation_select", "rows = -1",
       [](Scene& scene) {
         auto selection = sized<expertile_selection>();
         return expertile_operation_select(scene.gemm.get(), -1, &selection);
       },
       EXPERTILE_INVALID_ARGUMENT, "rows is -1, it must be from 0 to 2147483648"},
      {"expertile_operation_select", "selection = NULL",
       [](Scene& scene) { return expertile_operation_select(scene.gemm.get(), 1, nullptr); },
       EXPERTILE_INVALID_ARGUMENT, "selection is null, it must point to an expertile_selection"},
      {"expertile_operation_describe", "operation = NULL",
       [](Scene& scene) { return expertile_operation_describe(nullptr, &scene.desc); }, EXPERTILE_INVALID_ARGUMENT,
       "operation is null, expertile_prepare makes one"},
      {"expertile_operation_destroy", "a problem",
       [](Scene& scene) {
         return expertile_operation_destroy(reinterpret_cast<expertile_operation*>(scene.problem.get()));
       },
       EXPERTILE_INVALID_ARGUMENT,
       "operation 0x... is no operation: it was destroyed, or expertile_prepare did not make it"},
  };
}

}  // namespace

Scene::Scene() {
  desc.dtype = EXPERTILE_DTYPE_FP8_W8A8;
  desc.scales = EXPERTILE_SCALES_PER_TOKEN_CHANNEL;
  scaled = made(desc);
  desc = kSmallLayer;
  desc.dtype = EXPERTILE_DTYPE_BFLOAT16;
  desc.block_n = desc.block_k = 16;
  quantised = made(desc);
  quantising = prepared(quantised.get(), config_dir);
  desc = kSmallLayer;
  options = {.size = sizeof options,
             .device = device.get(),
             .config_dir = config_dir.c_str(),
             .c_element = EXPERTILE_ELEMENT_NONE,
             .reserved = 0,
             .row_layout = EXPERTILE_ROWS_OFFSETS,
             .reserved_2 = 0};
  args = args_of({.a = view(a.data(), 2, 32),
                  .b = view(b.data(), 32, 32),
                  .c = view(c.data(), 2, 16),
                  .seg_indptr = segments,
                  .weight_indices = experts});
  rows_in = args.a;
  rows_out = {bytes.data(), 2, 32, 0, EXPERTILE_INT8, 0};
}

std::vector<WrongCall> wrong_calls() {
  std::vector<WrongCall> all = of_problems();
  for (const auto& more : {of_devices(), of_operations(), wrong_products(), wrong_tunings()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

}  // namespace expertile::testing
