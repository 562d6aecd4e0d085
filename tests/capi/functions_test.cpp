// Each function of expertile.h against what the library says in C++.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "backend/backend.hpp"
#include "capi/c_calls.hpp"
#include "expertile/operand.hpp"
#include "plan/tile_schema.hpp"
#include "problem/sizes.hpp"
#include "store/config_file.hpp"
#include "store/temporary_directory.hpp"
#include "support/random_problem.hpp"

namespace expertile::testing {
namespace {

TEST(FunctionsOfC, SayTheVersionOfTheHeader) {
  const std::string header = std::to_string(EXPERTILE_VERSION_MAJOR) + "." + std::to_string(EXPERTILE_VERSION_MINOR) +
                             "." + std::to_string(EXPERTILE_VERSION_PATCH);
  EXPECT_EQ(expertile_version(), header);
}

TEST(FunctionsOfC, NameEveryValueAndNoOther) {
  for (const DType dtype :
       {DType::float16, DType::bfloat16, DType::float32, DType::fp8_w8a8, DType::int8_w8a16, DType::int8_w8a8}) {
    expertile_dtype number{};
    ASSERT_EQ(expertile_parse_dtype(std::string(name(dtype)).c_str(), &number), EXPERTILE_OK);
    EXPECT_EQ(expertile_dtype_name(number), name(dtype));
  }
  for (const Scales scales :
       {Scales::none, Scales::per_tensor, Scales::per_token_channel, Scales::per_channel, Scales::block}) {
    EXPECT_GT(desc_of({.scales = scales}).scales, 0) << name(scales);
  }
  EXPECT_STREQ(expertile_scales_name(EXPERTILE_SCALES_USUAL), "usual");
  for (int match = 0; match <= EXPERTILE_MATCH_BUILT_IN; ++match) {
    EXPECT_EQ(expertile_match_name(static_cast<expertile_match>(match)), name(static_cast<Match>(match)));
  }
  for (int layout = 0; layout <= EXPERTILE_ROWS_MASKED; ++layout) {
    EXPECT_EQ(expertile_row_layout_name(static_cast<expertile_row_layout>(layout)),
              name(static_cast<RowLayout>(layout)));
  }
  EXPECT_STREQ(expertile_row_layout_name(static_cast<expertile_row_layout>(3)), "?");
  EXPECT_STREQ(expertile_status_name(EXPERTILE_OK), "ok");
  EXPECT_STREQ(expertile_status_name(EXPERTILE_INTERNAL_ERROR), "internal_error");
  EXPECT_STREQ(expertile_status_name(static_cast<expertile_status>(6)), "?");
  EXPECT_STREQ(expertile_dtype_name(static_cast<expertile_dtype>(6)), "?");
  EXPECT_STREQ(expertile_scales_name(static_cast<expertile_scales>(6)), "?");
  EXPECT_STREQ(expertile_element_name(EXPERTILE_ELEMENT_NONE), "?");
  EXPECT_STREQ(expertile_element_name(static_cast<expertile_element>(6)), "?");
  EXPECT_STREQ(expertile_match_name(static_cast<expertile_match>(9)), "?");
}

TEST(FunctionsOfC, DescribeAProblemWithNothingLeftToDefaults) {
  const ProblemHandle problem = made(kSmallLayer);
  auto desc = sized<expertile_problem_desc>();
  ASSERT_EQ(expertile_problem_describe(problem.get(), &desc), EXPERTILE_OK);
  EXPECT_EQ(desc.experts, 2);
  EXPECT_EQ(desc.n, 16);
  EXPECT_EQ(desc.k, 32);
  EXPECT_EQ(desc.dtype, EXPERTILE_DTYPE_FLOAT32);
  EXPECT_EQ(desc.scales, EXPERTILE_SCALES_NONE);
  EXPECT_EQ(desc.top_k, 2);
  EXPECT_EQ(desc.hidden_size, 32);
  const TemporaryDirectory directory;
  auto again = sized<expertile_problem_desc>();
  ASSERT_EQ(expertile_operation_describe(prepared(problem.get(), directory.path()).get(), &again), EXPERTILE_OK);
  EXPECT_EQ(again.hidden_size, desc.hidden_size);
  EXPECT_EQ(again.scales, desc.scales);
}

class TensorsInC : public ::testing::TestWithParam<Combination> {};

TEST_P(TensorsInC, HaveTheSizesThatCallsAreHeldAgainst) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    RandomProblem random(GetParam(), seed);
    const Problem& problem = random.problem();
    const std::int64_t rows = random.args().a.rows;
    const ProblemHandle handle = made(desc_of(problem));
    expertile_problem_tensors tensors{};
    tensors.size = sizeof tensors;
    ASSERT_EQ(expertile_problem_get_tensors(handle.get(), rows, &tensors), EXPERTILE_OK) << expertile_last_error();
    const Operands operands = operands_of(problem);
    EXPECT_EQ(tensors.a_element, number_of(operands.a.element));
    EXPECT_EQ(tensors.b_element, number_of(weight_type(problem)));
    EXPECT_EQ(tensors.c_element, number_of(operands.c));
    EXPECT_EQ(tensors.a_bytes, bytes_of(operands.a.element, rows * problem.k));
    EXPECT_EQ(tensors.b_bytes, bytes_of(weight_type(problem), problem.experts * problem.n * problem.k));
    EXPECT_EQ(tensors.c_bytes, bytes_of(operands.c, rows * problem.n));
    EXPECT_EQ(tensors.scale_a_count, static_cast<std::int64_t>(random.scale_a.size()));
    EXPECT_EQ(tensors.scale_b_count, static_cast<std::int64_t>(random.scale_b.size()));
  }
}

TEST_P(TensorsInC, HaveTheWorkspaceThatTheOperationAsksFor) {
  const TemporaryDirectory directory;
  RandomProblem random(GetParam(), 3);
  const ProblemHandle problem = made(desc_of(random.problem()));
  const OperationHandle gemm = prepared(problem.get(), directory.path());
  for (const std::int64_t rows : {std::int64_t{0}, random.args().a.rows}) {
    std::size_t bytes = 77;
    ASSERT_EQ(expertile_operation_workspace_bytes(gemm.get(), rows, &bytes), EXPERTILE_OK);
    EXPECT_EQ(bytes, rows == 0 ? 0 : random.args().workspace.size());
  }
}

INSTANTIATE_TEST_SUITE_P(, TensorsInC, ::testing::ValuesIn(all_combinations()),
                         [](const auto& entry) { return entry.param.name; });

TEST(FunctionsOfC, SayOfADeviceWhatItIs) {
  const DeviceHandle device = opened("cpu", 3);
  auto info = sized<expertile_device_info>();
  ASSERT_EQ(expertile_device_get_info(device.get(), &info), EXPERTILE_OK);
  const DeviceInfo& same = open_backend("cpu", 3).value()->info();
  EXPECT_EQ(info.is_gpu, 0);
  EXPECT_EQ(info.threads, 3);
  EXPECT_EQ(info.name, same.name);
  EXPECT_EQ(info.instructions, isa_name(same));
  EXPECT_EQ(info.free_memory_bytes, same.free_memory_bytes);
  EXPECT_EQ(info.last_cache_bytes, same.cpu().l3_bytes);
  EXPECT_EQ(info.compute_capability, 0);
  EXPECT_EQ(info.loaded_kernels, 0);
}

expertile_selection selection_of(const expertile_operation* gemm, std::int64_t rows) {
  auto selection = sized<expertile_selection>();
  EXPECT_EQ(expertile_operation_select(gemm, rows, &selection), EXPERTILE_OK) << expertile_last_error();
  return selection;
}

TEST(FunctionsOfC, SayWhichTileACallRunsWithAndFromWhere) {
  const TemporaryDirectory directory;
  const ProblemHandle problem = made(kSmallLayer);
  const OperationHandle untuned = prepared(problem.get(), directory.path());
  expertile_selection selection = selection_of(untuned.get(), 8);
  EXPECT_EQ(selection.match, EXPERTILE_MATCH_BUILT_IN);
  EXPECT_EQ(selection.batch, 0);
  EXPECT_STREQ(selection.file, "");
  EXPECT_STREQ(selection.differs, "");
  const std::string wanted = selection.wanted_file;
  EXPECT_NE(wanted.find("/E=2,N=16,K=32/grouped_gemm_config_32_float32.json"), std::string::npos) << wanted;
  EXPECT_EQ(std::string(selection.tile).find("BLOCK_SIZE_M="), 0U) << selection.tile;

  const TileConfig tile{16, 64, 256, 1, 1, 1};
  ASSERT_TRUE(merge_into(wanted, {{4, tile}}, {}));
  const OperationHandle tuned = prepared(problem.get(), directory.path());
  selection = selection_of(tuned.get(), 8);  // of a batch of 4, at top_k 2
  EXPECT_EQ(selection.match, EXPERTILE_MATCH_EXACT);
  EXPECT_EQ(selection.batch, 4);
  EXPECT_EQ(selection.file, wanted);
  EXPECT_EQ(selection.tile, describe(tile));
  EXPECT_EQ(selection_of(tuned.get(), 100).match, EXPERTILE_MATCH_NEAREST_BATCH);
  EXPECT_EQ(selection_of(untuned.get(), 8).match, EXPERTILE_MATCH_BUILT_IN) << "it was prepared before";
}

TEST(FunctionsOfC, PrepareForOneTypeOfCWhereOneIsNamed) {
  const TemporaryDirectory directory;
  const std::string config_dir = directory.path();
  const ProblemHandle problem = made(kSmallLayer);
  const DeviceHandle device = opened("cpu", 1);
  const expertile_prepare_options options{.size = sizeof options,
                                          .device = device.get(),
                                          .config_dir = config_dir.c_str(),
                                          .c_element = EXPERTILE_BFLOAT16,
                                          .reserved = 0,
                                          .row_layout = EXPERTILE_ROWS_OFFSETS,
                                          .reserved_2 = 0};
  expertile_operation* gemm = nullptr;
  ::testing::internal::CaptureStderr();
  ASSERT_EQ(expertile_prepare(problem.get(), &options, &gemm), EXPERTILE_OK) << expertile_last_error();
  static_cast<void>(::testing::internal::GetCapturedStderr());
  const OperationHandle owned(gemm);
  const std::vector<float> values(32 * 32);
  std::vector<float> c(16);
  const std::vector<std::int64_t> segments{0, 1};
  const std::vector<std::int64_t> experts{1};
  const expertile_grouped_gemm_args args = args_of({.a = view(values.data(), 1, 32),
                                                    .b = view(values.data(), 32, 32),
                                                    .c = view(c.data(), 1, 16),
                                                    .seg_indptr = segments,
                                                    .weight_indices = experts});
  EXPECT_EQ(expertile_run(gemm, &args), EXPERTILE_INVALID_ARGUMENT);
  EXPECT_STREQ(expertile_last_error(), "C is float32, the operation was prepared for C in bfloat16");
}

TEST(FunctionsOfC, QuantiseRowsAsTheLibraryDoes) {
  const std::vector<float> a = {1, -2, 3, 4, 0, 0, 0, 0, 100, 7, -448, 5};  // [2, 6]
  for (const std::int64_t block : {0, 4}) {
    const std::int64_t scale_count = block == 0 ? 2 : 4;
    std::vector<std::int8_t> out(12), same(12);
    std::vector<float> scales(static_cast<std::size_t>(scale_count)), same_scales(scales);
    const expertile_matrix from{
        .data = a.data(), .rows = 2, .cols = 6, .pitch = 0, .element = EXPERTILE_FLOAT32, .reserved = 0};
    const expertile_mutable_matrix to{
        .data = out.data(), .rows = 2, .cols = 6, .pitch = 0, .element = EXPERTILE_INT8, .reserved = 0};
    ASSERT_EQ(expertile_quantise_rows(&from, block, &to, scales.data(), scale_count), EXPERTILE_OK)
        << expertile_last_error();
    ASSERT_TRUE(quantise_rows(view(a.data(), 2, 6), block, view(same.data(), 2, 6), same_scales));
    EXPECT_EQ(out, same);
    EXPECT_EQ(scales, same_scales);
    EXPECT_EQ(scales[0], 4.0F / 127);
  }
}

TEST(FunctionsOfC, ConvertBetweenEveryTwoElements) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {0, 1, -2.5F, 3.14159F, 1000, -1e30F, infinity, std::nanf("")};
  const auto count = static_cast<std::int64_t>(values.size());
  for (const ElementType from : {ElementType::float16, ElementType::bfloat16, ElementType::float32,
                                 ElementType::float8_e4m3, ElementType::int8}) {
    std::vector<std::uint64_t> stored(values.size());
    for (std::int64_t i = 0; i < count; ++i) store_element(from, values[static_cast<std::size_t>(i)], stored.data(), i);
    for (const ElementType to : {ElementType::float16, ElementType::bfloat16, ElementType::float32,
                                 ElementType::float8_e4m3, ElementType::int8}) {
      std::vector<std::uint64_t> converted(values.size());
      std::vector<std::uint64_t> expected(values.size());
      ASSERT_EQ(expertile_convert(stored.data(), static_cast<expertile_element>(number_of(from)), converted.data(),
                                  static_cast<expertile_element>(number_of(to)), count),
                EXPERTILE_OK);
      for (std::int64_t i = 0; i < count; ++i) {
        store_element(to, load_element(from, stored.data(), i), expected.data(), i);
      }
      EXPECT_EQ(converted, expected) << name(from) << " to " << name(to);
    }
  }
  EXPECT_EQ(expertile_convert(nullptr, EXPERTILE_FLOAT32, nullptr, EXPERTILE_INT8, 0), EXPERTILE_OK);
}

}  // namespace
}  // namespace expertile::testing
