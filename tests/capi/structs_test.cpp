// Structs of expertile.h that are larger than this version's, or smaller.

#include <gtest/gtest.h>

#include <cstring>

#include "capi/c_calls.hpp"
#include "store/temporary_directory.hpp"

namespace expertile::testing {
namespace {

// A struct of a version to come: two fields more.
template <class T>
struct Later {
  T known{};
  std::int64_t new_field = 0;
  std::int32_t another = 0;
};

// The status of `call` with a struct that is larger, `tail` in its last new field; and with one that is smaller.
template <class T, class Call>
expertile_status with_tail(T known, std::int32_t tail, const Call& call) {
  Later<T> later{};
  later.known = known;
  later.known.size = sizeof later;
  later.another = tail;
  return call(&later.known);
}
template <class T, class Call>
expertile_status smaller(T known, const Call& call) {
  known.size = sizeof(T) - 1;
  return call(&known);
}

template <class T, class Call>
void expect_growth(const char* type, const T& known, const Call& call) {
  EXPECT_EQ(with_tail(known, 0, call), EXPERTILE_OK) << type << ": " << expertile_last_error();
  EXPECT_EQ(with_tail(known, 7, call), EXPERTILE_UNSUPPORTED) << type;
  const std::string line = expertile_last_error();
  EXPECT_NE(line.find(std::string("of an ") + type + ", and those behind them are not 0"), std::string::npos) << line;
  EXPECT_EQ(smaller(known, call), EXPERTILE_INVALID_ARGUMENT) << type;
  T empty = known;
  empty.size = 0;
  EXPECT_EQ(call(&empty), EXPERTILE_INVALID_ARGUMENT) << type;
  EXPECT_NE(std::string(expertile_last_error()).find(std::string("it must be sizeof(") + type), std::string::npos);
}

TEST(StructsOfC, ThatAreReadMayGrowByBytesThatAreZero) {
  const TemporaryDirectory directory;
  expect_growth("expertile_problem_desc", kSmallLayer, [](const expertile_problem_desc* desc) {
    expertile_problem* problem = nullptr;
    const expertile_status status = expertile_problem_create(desc, &problem);
    EXPECT_EQ(problem != nullptr, status == EXPERTILE_OK);
    expertile_problem_destroy(problem);
    return status;
  });
  const ProblemHandle problem = made(kSmallLayer);
  const OperationHandle gemm = prepared(problem.get(), directory.path());
  const std::string config_dir = directory.path();
  const expertile_prepare_options options{.size = sizeof options,
                                          .device = nullptr,
                                          .config_dir = config_dir.c_str(),
                                          .c_element = 0,
                                          .reserved = 0,
                                          .row_layout = 0,
                                          .reserved_2 = 0};
  expect_growth("expertile_prepare_options", options, [&](const expertile_prepare_options* given) {
    expertile_operation* operation = nullptr;
    const expertile_status status = expertile_prepare(problem.get(), given, &operation);
    expertile_operation_destroy(operation);
    return status;
  });
  const std::vector<float> a(32);
  const std::vector<float> b(2 * 16 * 32);
  std::vector<float> c(16);
  const std::vector<std::int64_t> segments{0, 1};
  const std::vector<std::int64_t> experts{1};
  const expertile_grouped_gemm_args args = args_of({.a = view(a.data(), 1, 32),
                                                    .b = view(b.data(), 32, 32),
                                                    .c = view(c.data(), 1, 16),
                                                    .seg_indptr = segments,
                                                    .weight_indices = experts});
  const auto run = [&](const expertile_grouped_gemm_args* given) { return expertile_run(gemm.get(), given); };
  expect_growth("expertile_grouped_gemm_args", args, run);
  const auto validated = [&](const expertile_grouped_gemm_args* given) {
    return expertile_validate(problem.get(), given);
  };
  expect_growth("expertile_grouped_gemm_args", args, validated);
}

TEST(StructsOfC, ThatAreFilledMayGrowAndKeepTheirSize) {
  const TemporaryDirectory directory;
  const ProblemHandle problem = made(kSmallLayer);
  const OperationHandle gemm = prepared(problem.get(), directory.path());
  const DeviceHandle device = opened("cpu", 1);
  expect_growth("expertile_problem_desc", kSmallLayer,
                [&](expertile_problem_desc* desc) { return expertile_problem_describe(problem.get(), desc); });
  expect_growth("expertile_problem_desc", kSmallLayer,
                [&](expertile_problem_desc* desc) { return expertile_operation_describe(gemm.get(), desc); });
  expect_growth("expertile_problem_tensors", expertile_problem_tensors{}, [&](expertile_problem_tensors* tensors) {
    return expertile_problem_get_tensors(problem.get(), 3, tensors);
  });
  expect_growth("expertile_device_info", expertile_device_info{},
                [&](expertile_device_info* info) { return expertile_device_get_info(device.get(), info); });
  expect_growth("expertile_selection", expertile_selection{},
                [&](expertile_selection* selection) { return expertile_operation_select(gemm.get(), 3, selection); });
  Later<expertile_problem_tensors> later{};
  later.known.size = sizeof later;
  ASSERT_EQ(expertile_problem_get_tensors(problem.get(), 3, &later.known), EXPERTILE_OK);
  EXPECT_EQ(later.known.size, sizeof later);
  EXPECT_EQ(later.known.a_bytes, 3 * 32 * 4);
  EXPECT_EQ(later.new_field, 0);
}

TEST(StructsOfC, AreLeftAloneWhereACallFails) {
  const ProblemHandle problem = made(kSmallLayer);
  expertile_problem_tensors tensors;
  std::memset(&tensors, 0x5a, sizeof tensors);
  tensors.size = sizeof tensors;
  const expertile_problem_tensors before = tensors;
  EXPECT_EQ(expertile_problem_get_tensors(problem.get(), -1, &tensors), EXPERTILE_INVALID_ARGUMENT);
  EXPECT_EQ(std::memcmp(&before, &tensors, sizeof tensors), 0);
}

}  // namespace
}  // namespace expertile::testing
