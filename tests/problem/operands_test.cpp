// What operands are made of: element types, the presets that dtypes name, and words for what no kernel multiplies yet.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "expertile/grouped_gemm.hpp"
#include "expertile/operand.hpp"
#include "plan/kernel_plan.hpp"
#include "problem/presets.hpp"
#include "problem/sizes.hpp"
#include "support/random_problem.hpp"

namespace expertile {
namespace {

using E = ElementType;

Problem problem_of(const Preset& preset) {
  Problem problem{.experts = 3, .n = 200, .k = 300, .dtype = preset.dtype, .scales = preset.scales};
  if (preset.scales == Scales::block) problem.block_shape = {64, 128};
  return problem;
}

TEST(ElementTypes, HaveNamesOfTheirOwnAndBits) {
  const std::vector<std::pair<const char*, int>> expected = {
      {"float16", 16}, {"bfloat16", 16}, {"float32", 32},    {"float8_e4m3", 8}, {"int8", 8},
      {"int4", 4},     {"uint4", 4},     {"float4_e2m1", 4}, {"float8_e8m0", 8}};
  ASSERT_EQ(std::size(kElementTypes), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(name(kElementTypes[i]), expected[i].first);
    EXPECT_EQ(bits_of(kElementTypes[i]), expected[i].second) << expected[i].first;
  }
}

TEST(ElementTypes, FillBytesUpToWholeOnes) {
  EXPECT_EQ(bytes_of(E::float32, 3), 12);
  EXPECT_EQ(bytes_of(E::int8, 3), 3);
  EXPECT_EQ(bytes_of(E::int4, 0), 0);
  EXPECT_EQ(bytes_of(E::int4, 1), 1);
  EXPECT_EQ(bytes_of(E::int4, 2), 1);
  EXPECT_EQ(bytes_of(E::float4_e2m1, 7), 4);
  EXPECT_EQ(bytes_of(E::float32, (std::int64_t{1} << 60) + 1), (std::int64_t{1} << 62) + 4);
}

TEST(Presets, HaveADTypeThatParsesBackFromItsName) {
  for (const Preset& preset : presets()) {
    const auto parsed = parse_dtype(name(preset.dtype));
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(*parsed, preset.dtype);
  }
  const auto unknown = parse_dtype("int4");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().message,
            "dtype 'int4' is not known; choose float16, bfloat16, float32, fp8_w8a8, int8_w8a16 or int8_w8a8");
}

TEST(Presets, AreFoundAgainThroughAProblemThatNamesThem) {
  for (const Preset& preset : presets()) {
    const Problem problem = problem_of(preset);
    const std::string what = std::string(name(preset.dtype)) + " " + std::string(name(preset.scales));
    const Status status = validate(problem);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(&preset_of(problem), &preset) << what;
    EXPECT_EQ(find_preset(preset.dtype, preset.scales), &preset) << what;
  }
}

TEST(Presets, RefuseScalesThatHaveNoRow) {
  int refused = 0;
  for (const DType dtype : {DType::float16, DType::fp8_w8a8, DType::int8_w8a16, DType::int8_w8a8}) {
    for (const Scales scales : {Scales::none, Scales::per_tensor, Scales::per_token_channel, Scales::per_channel}) {
      const Status status = validate(Problem{.dtype = dtype, .scales = scales});
      EXPECT_EQ(status.has_value(), find_preset(dtype, scales) != nullptr) << name(dtype) << ' ' << name(scales);
      refused += status ? 0 : 1;
    }
  }
  EXPECT_EQ(refused, 11);
  const Status status = validate(Problem{.dtype = DType::int8_w8a8, .scales = Scales::per_tensor});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "scales 'per_tensor' do not fit dtype int8_w8a8 without a block_shape");
}

TEST(Presets, AreAllMultipliedOnAGpu) {
  for (const Preset& preset : presets()) {
    const Status status = check_product(problem_of(preset));
    EXPECT_TRUE(status) << status.error().message;
  }
}

TEST(Presets, AreAllAmongTheCombinationsThatKernelsAreTestedWith) {
  const auto combinations = testing::all_combinations();
  for (const Preset& preset : presets()) {
    for (const E a : types_of_a(preset)) {
      const bool found = std::any_of(combinations.begin(), combinations.end(), [&](const auto& one) {
        return one.dtype == preset.dtype && one.scales == preset.scales && one.a == a;
      });
      EXPECT_TRUE(found) << name(preset.dtype) << ' ' << name(preset.scales) << " with A in " << name(a);
    }
  }
}

TEST(Problems, RefuseAValueThatIsNoDType) {
  const Status status = validate(Problem{.dtype = static_cast<DType>(77)});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            "dtype is 77, which is none of float16, bfloat16, float32, fp8_w8a8, int8_w8a16 or int8_w8a8");
}

TEST(Operands, SayWhatABlockShapeMeans) {
  const Operands operands = operands_of({.dtype = DType::bfloat16, .block_shape = BlockShape{.n = 64, .k = 128}});
  EXPECT_EQ(operands.a, Operand{E::bfloat16});
  EXPECT_EQ(operands.multiplied_a, (Operand{E::float8_e4m3, ScaleSpec{E::float32, 1, 128}}));
  EXPECT_EQ(operands.b, (Operand{E::float8_e4m3, ScaleSpec{E::float32, 64, 128}}));
  EXPECT_EQ(operands.c, E::bfloat16);
}

TEST(Operands, AreMultipliedAsTheyAreGivenWhereNothingIsQuantised) {
  const Operands operands = operands_of({.dtype = DType::fp8_w8a8, .scales = Scales::per_token_channel});
  EXPECT_EQ(operands.a, (Operand{E::float8_e4m3, ScaleSpec{E::float32, 1, 0}}));
  EXPECT_EQ(operands.multiplied_a, operands.a);
  EXPECT_EQ(operands.b, operands.a);
}

TEST(Operands, CountTheScalesThatEachPresetAsksFor) {
  // experts 3, N 200 in blocks of 64, K 300 in blocks of 128, 17 rows.
  const auto sizes = [](DType dtype, Scales scales) {
    const ScaleSizes found = scale_sizes(problem_of(*find_preset(dtype, scales)), 17);
    return std::vector<std::int64_t>{found.a, found.b};
  };
  using Sizes = std::vector<std::int64_t>;
  EXPECT_EQ(sizes(DType::float16, Scales::none), (Sizes{0, 0}));
  EXPECT_EQ(sizes(DType::float32, Scales::block), (Sizes{0, 3 * 4 * 3}));
  EXPECT_EQ(sizes(DType::fp8_w8a8, Scales::per_tensor), (Sizes{3, 3}));
  EXPECT_EQ(sizes(DType::fp8_w8a8, Scales::per_token_channel), (Sizes{17, 600}));
  EXPECT_EQ(sizes(DType::fp8_w8a8, Scales::block), (Sizes{17 * 3, 3 * 4 * 3}));
  EXPECT_EQ(sizes(DType::int8_w8a16, Scales::per_channel), (Sizes{0, 600}));
  EXPECT_EQ(sizes(DType::int8_w8a16, Scales::block), (Sizes{0, 3 * 4 * 3}));
  EXPECT_EQ(sizes(DType::int8_w8a8, Scales::block), (Sizes{17 * 3, 3 * 4 * 3}));
}

TEST(Operands, CountTheBytesThatACallMoves) {
  const auto moved = [](DType dtype, Scales scales) {
    return bytes_moved(problem_of(*find_preset(dtype, scales)), 17, 2);
  };
  EXPECT_EQ(moved(DType::float32, Scales::none), 2 * 200 * 300 * 4 + 17 * (300 * 4 + 200 * 4));
  EXPECT_EQ(moved(DType::fp8_w8a8, Scales::per_tensor), 2 * (200 * 300 + 4 + 4) + 17 * (300 + 200 * 2));
  EXPECT_EQ(moved(DType::fp8_w8a8, Scales::per_token_channel), 2 * (200 * 300 + 200 * 4) + 17 * (300 + 4 + 200 * 2));
  EXPECT_EQ(moved(DType::int8_w8a8, Scales::block), 2 * (200 * 300 + 12 * 4) + 17 * (300 + 3 * 4 + 200 * 2));
  EXPECT_EQ(moved(DType::int8_w8a16, Scales::per_channel), 2 * (200 * 300 + 200 * 4) + 17 * (300 * 2 + 200 * 2));
  EXPECT_EQ(moved(DType::float16, Scales::block), 2 * (200 * 300 + 12 * 4) + 17 * (300 * 2 + 200 * 2));
}

// ---- what the vocabulary holds beyond today's kernels ----

constexpr OperandShape kWeights{.experts = 8, .matrices = 8, .rows = 4096, .k = 2048};
constexpr std::int64_t kElements = std::int64_t{8} * 4096 * 2048;

TEST(Vocabulary, MeasuresInt4WithAScaleForAGroupOfK) {
  for (const std::int64_t group : {32, 128}) {
    const OperandBytes bytes = bytes_of(Operand{E::int4, ScaleSpec{E::float16, 1, group}}, kWeights);
    EXPECT_EQ(bytes.elements, kElements / 2);
    EXPECT_EQ(bytes.scales, kElements / group * 2);
    EXPECT_EQ(bytes.zero_points, 0);
    EXPECT_EQ(bytes.total(), kElements / 2 + kElements / group * 2);
  }
}

TEST(Vocabulary, MeasuresZeroPointsOfFourBits) {
  const OperandBytes bytes = bytes_of(Operand{E::uint4, ScaleSpec{E::bfloat16, 1, 128, E::uint4}}, kWeights);
  EXPECT_EQ(bytes.scales, kElements / 128 * 2);
  EXPECT_EQ(bytes.zero_points, kElements / 128 / 2);
}

TEST(Vocabulary, MeasuresFloat4WithScalesThatArePowersOfTwo) {
  const OperandBytes bytes = bytes_of(Operand{E::float4_e2m1, ScaleSpec{E::float8_e8m0, 1, 32}}, kWeights);
  EXPECT_EQ(bytes.elements, kElements / 2);
  EXPECT_EQ(bytes.scales, kElements / 32);
}

TEST(Vocabulary, MeasuresScalesOfScales) {
  const Operand nvfp4{E::float4_e2m1, ScaleSpec{E::float8_e4m3, 1, 16}, ScaleSpec{}};
  EXPECT_EQ(bytes_of(nvfp4, kWeights).scales, kElements / 16 + 8 * 4);
}

TEST(Vocabulary, BeginsEachRowOfFourBitsAtAWholeByte) {
  const OperandShape odd{.experts = 2, .matrices = 2, .rows = 3, .k = 5};
  EXPECT_EQ(bytes_of(Operand{E::int4}, odd).elements, 2 * 3 * 3);
}

TEST(Vocabulary, KnowsTheSizeOfPackedPanelsBeforehand) {
  const auto panels = [](E type, const OperandShape& shape) {
    return bytes_of(Operand{.element = type, .arrangement = Arrangement::cpu_panels}, shape).elements;
  };
  EXPECT_EQ(panels(E::bfloat16, kWeights), kElements * 2);
  EXPECT_EQ(panels(E::int4, kWeights), kElements / 2);
  EXPECT_EQ(panels(E::bfloat16, {.experts = 2, .matrices = 2, .rows = 17, .k = 33}), 2 * 32 * 128);
  EXPECT_EQ(name(Arrangement::as_stored), "as_stored");
  EXPECT_EQ(name(Arrangement::cpu_panels), "cpu_panels");
}

TEST(Vocabulary, HasNoGpuProductForWhatNoKernelMultiplies) {
  int products = 0;
  for (const E a : kElementTypes) {
    for (const E b : kElementTypes) products += product_of(a, b, false) ? 1 : 0;
  }
  EXPECT_EQ(products, 7);  // each of five with itself, and int8 with float16 and bfloat16
  EXPECT_EQ(product_of(E::bfloat16, E::int8, false), Product::int8_bfloat16);
  EXPECT_EQ(product_of(E::float32, E::float32, true), Product::tf32);
  EXPECT_EQ(product_of(E::float32, E::int8, false), std::nullopt);
  EXPECT_EQ(product_of(E::bfloat16, E::int4, false), std::nullopt);
}

// ---- and calls refuse ----

constexpr std::int64_t kTwoRows[] = {0, 2};
constexpr std::int64_t kExpert[] = {0};

std::string refusal(const Problem& problem, E a, E b, E c) {
  static std::vector<float> data(64);
  const GroupedGemmArgs args{.a = {data.data(), 2, problem.k, problem.k, a},
                             .b = {data.data(), problem.n, problem.k, problem.k, b},
                             .c = {data.data(), 2, problem.n, problem.n, c},
                             .seg_indptr = kTwoRows,
                             .weight_indices = kExpert};
  const Status status = validate(problem, args);
  return status ? "nothing" : status.error().message;
}

TEST(Calls, RefuseAnElementTypeThatNoKernelMultiplies) {
  const Problem problem{.experts = 1, .n = 4, .k = 4, .dtype = DType::float16};
  EXPECT_EQ(refusal(problem, E::float16, E::float16, E::float16), "nothing");
  EXPECT_EQ(refusal(problem, E::float16, E::int4, E::float16),
            "B is int4: no kernel multiplies it, only float16, bfloat16, float32, float8_e4m3 and int8; dtype float16 "
            "needs float16");
  EXPECT_EQ(refusal(problem, E::float4_e2m1, E::float16, E::float16),
            "A is float4_e2m1: no kernel multiplies it, only float16, bfloat16, float32, float8_e4m3 and int8; dtype "
            "float16 needs float16");
  EXPECT_EQ(refusal(problem, E::float16, E::float16, E::float8_e8m0),
            "C is float8_e8m0, it must be float16, bfloat16 or float32");
  EXPECT_EQ(
      refusal(problem, E::float16, static_cast<E>(77), E::float16),
      "B is unknown: no kernel multiplies it, only float16, bfloat16, float32, float8_e4m3 and int8; dtype float16 "
      "needs float16");
}

TEST(Calls, RefuseEveryElementTypeThatThePresetDoesNotName) {
  for (const Preset& preset : presets()) {
    Problem problem = problem_of(preset);
    for (const E type : kElementTypes) {
      if (type != preset.b.element) {
        EXPECT_EQ(refusal(problem, preset.a.element, type, preset.c).rfind("B is " + std::string(name(type)), 0), 0U);
      }
      if (type != preset.a.element && type != preset.other_a) {
        EXPECT_EQ(refusal(problem, type, preset.b.element, preset.c).rfind("A is " + std::string(name(type)), 0), 0U);
      }
    }
  }
}

TEST(Calls, RefuseAnElementTypeOfAnotherPreset) {
  const Problem weights_only{.experts = 1, .n = 4, .k = 4, .dtype = DType::int8_w8a16};
  EXPECT_EQ(refusal(weights_only, E::float32, E::int8, E::float16),
            "A is float32, dtype int8_w8a16 needs float16 or bfloat16");
  const Problem blocks{.experts = 1, .n = 4, .k = 4, .dtype = DType::float16, .block_shape = BlockShape{4, 4}};
  EXPECT_EQ(refusal(blocks, E::float16, E::float16, E::float16),
            "B is float16, dtype float16 with a block_shape needs float8_e4m3");
  EXPECT_EQ(refusal(blocks, E::float16, E::float8_e4m3, E::float32),
            "C is float32, dtype float16 with a block_shape writes A's type float16");
}

TEST(Calls, RefuseScalesOfTheWrongSizeWithTheShapeThatIsRight) {
  const auto scales_refusal = [](DType dtype, Scales scales, bool of_a) {
    Problem problem{.experts = 1, .n = 4, .k = 4, .dtype = dtype, .scales = scales};
    if (scales == Scales::block) problem.block_shape = {2, 3};
    const Operands operands = operands_of(problem);
    static const std::vector<float> data(64);
    const ScaleSizes right = scale_sizes(problem, 2);
    GroupedGemmArgs args{.a = {data.data(), 2, 4, 4, operands.a.element},
                         .b = {data.data(), 4, 4, 4, operands.b.element},
                         .c = {const_cast<float*>(data.data()), 2, 4, 4, operands.c},
                         .seg_indptr = kTwoRows,
                         .weight_indices = kExpert,
                         .scale_a = {data.data(), static_cast<std::size_t>(right.a + (of_a ? 1 : 0))},
                         .scale_b = {data.data(), static_cast<std::size_t>(right.b + 1)}};
    return validate(problem, args).error().message;
  };
  EXPECT_EQ(scales_refusal(DType::float16, Scales::none, true),
            "scale_a has 1 entries, scales 'none' of dtype float16 need none: 0");
  EXPECT_EQ(scales_refusal(DType::fp8_w8a8, Scales::per_tensor, true),
            "scale_a has 2 entries, scales 'per_tensor' of dtype fp8_w8a8 need [E] = 1");
  EXPECT_EQ(scales_refusal(DType::fp8_w8a8, Scales::per_token_channel, true),
            "scale_a has 3 entries, scales 'per_token_channel' of dtype fp8_w8a8 need [M] = 2");
  EXPECT_EQ(scales_refusal(DType::fp8_w8a8, Scales::per_token_channel, false),
            "scale_b has 5 entries, scales 'per_token_channel' of dtype fp8_w8a8 need [E, N] = 4");
  EXPECT_EQ(scales_refusal(DType::int8_w8a8, Scales::block, true),
            "scale_a has 5 entries, scales 'block' of dtype int8_w8a8 need [M, ceil(K/bk)] = 4");
  EXPECT_EQ(scales_refusal(DType::int8_w8a16, Scales::block, false),
            "scale_b has 5 entries, scales 'block' of dtype int8_w8a16 need [E, ceil(N/bn), ceil(K/bk)] = 4");
}

TEST(Elements, OfTypesThatNoKernelReadsAreNoNumbers) {
  unsigned char byte = 0x21;
  EXPECT_TRUE(std::isnan(load_element(E::int4, &byte, 0)));
  store_element(E::int4, 3.0F, &byte, 0);
  EXPECT_EQ(byte, 0x21);
}

}  // namespace
}  // namespace expertile
