#pragma once
// What the tests of expertile.h share: handles that destroy themselves, and the library's own values as C's.

#include <expertile/expertile.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "expertile/grouped_gemm.hpp"

namespace expertile::testing {

inline constexpr expertile_problem_desc kSmallLayer{.size = sizeof(expertile_problem_desc),
                                                    .experts = 2,
                                                    .n = 16,
                                                    .k = 32,
                                                    .dtype = EXPERTILE_DTYPE_FLOAT32,
                                                    .scales = 0,
                                                    .block_n = 0,
                                                    .block_k = 0,
                                                    .top_k = 0,
                                                    .hidden_size = 0,
                                                    .tf32 = 0,
                                                    .reserved = 0};

// An empty struct that says its size.
template <class T>
[[nodiscard]] T sized() {
  T value{};
  value.size = sizeof(T);
  return value;
}

struct Destroy {
  void operator()(expertile_problem* handle) const { EXPECT_EQ(expertile_problem_destroy(handle), EXPERTILE_OK); }
  void operator()(expertile_device* handle) const { EXPECT_EQ(expertile_device_destroy(handle), EXPERTILE_OK); }
  void operator()(expertile_operation* handle) const { EXPECT_EQ(expertile_operation_destroy(handle), EXPERTILE_OK); }
};
using ProblemHandle = std::unique_ptr<expertile_problem, Destroy>;
using DeviceHandle = std::unique_ptr<expertile_device, Destroy>;
using OperationHandle = std::unique_ptr<expertile_operation, Destroy>;

// Null, and a failed test, where the call fails.
[[nodiscard]] ProblemHandle made(const expertile_problem_desc& desc);
[[nodiscard]] DeviceHandle opened(const char* name, int threads);
// On a CPU, two threads; config_dir: where files are looked up. What is logged is thrown away.
[[nodiscard]] OperationHandle prepared(const expertile_problem* problem, const std::string& config_dir,
                                       expertile_row_layout rows = EXPERTILE_ROWS_OFFSETS);

[[nodiscard]] expertile_problem_desc desc_of(const Problem& problem);
[[nodiscard]] expertile_grouped_gemm_args args_of(const GroupedGemmArgs& args);
[[nodiscard]] std::int32_t number_of(ElementType element);

}  // namespace expertile::testing
