#pragma once
// Calls of expertile.h that are wrong in one thing, and what each says: docs/c-errors.md is made of this table.

#include <functional>
#include <string>
#include <vector>

#include "capi/c_calls.hpp"
#include "store/temporary_directory.hpp"

namespace expertile::testing {

// Right arguments of every function, for a table's row to get one of them wrong.
struct Scene {
  Scene();

  TemporaryDirectory directory;
  std::string config_dir = directory.path();
  expertile_problem_desc desc = kSmallLayer;
  ProblemHandle problem = made(kSmallLayer);
  ProblemHandle scaled;     // fp8_w8a8, a scale a token and a channel
  ProblemHandle quantised;  // bfloat16 with blocks: calls quantise A
  DeviceHandle device = opened("cpu", 1);
  expertile_prepare_options options;
  OperationHandle gemm = prepared(problem.get(), config_dir);
  OperationHandle quantising;
  std::vector<float> a = std::vector<float>(2 * 32);       // [2, 32]
  std::vector<float> b = std::vector<float>(2 * 16 * 32);  // [2 * 16, 32]
  std::vector<float> c = std::vector<float>(2 * 16);       // [2, 16]
  std::vector<std::int64_t> segments{0, 1, 2};
  std::vector<std::int64_t> experts{1, 0};
  std::vector<std::int32_t> segments_32{0, 1, 2};
  std::vector<std::int32_t> masked_m{1, 0};
  std::vector<float> scale_a = std::vector<float>(2);
  std::vector<float> scale_b = std::vector<float>(2 * 16);
  std::vector<std::int8_t> bytes = std::vector<std::int8_t>(2 * 32);
  expertile_grouped_gemm_args args;
  expertile_matrix rows_in;           // [2, 32] in float32
  expertile_mutable_matrix rows_out;  // in int8
};

struct WrongCall {
  const char* function;
  const char* wrong;  // "experts = 0"
  std::function<expertile_status(Scene&)> call;
  expertile_status status;
  const char* line;  // addresses in it are "0x..."
};
[[nodiscard]] std::vector<WrongCall> wrong_calls();
[[nodiscard]] std::vector<WrongCall> wrong_products();  // those of them that read tensors
[[nodiscard]] std::vector<WrongCall> wrong_tunings();   // those that tune and look up

}  // namespace expertile::testing
