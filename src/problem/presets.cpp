#include "problem/presets.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace expertile {
namespace {

using E = ElementType;

constexpr ScaleSpec kByExpert{E::float32, 0, 0, {}};
constexpr ScaleSpec kByRow{E::float32, 1, 0, {}};  // a token of A, a channel of B
constexpr ScaleSpec kByRowAndBlock{E::float32, 1, kOfBlockShape, {}};
constexpr ScaleSpec kByBlock{E::float32, kOfBlockShape, kOfBlockShape, {}};

constexpr Operand of(E element, std::optional<ScaleSpec> scales = {}) {
  return {element, scales, {}, Arrangement::as_stored};
}
constexpr Operand kFloat8ByExpert = of(E::float8_e4m3, kByExpert);
constexpr Operand kFloat8ByRow = of(E::float8_e4m3, kByRow);
constexpr Operand kFloat8ByRowAndBlock = of(E::float8_e4m3, kByRowAndBlock);
constexpr Operand kFloat8ByBlock = of(E::float8_e4m3, kByBlock);
constexpr Operand kInt8ByRow = of(E::int8, kByRow);
constexpr Operand kInt8ByRowAndBlock = of(E::int8, kByRowAndBlock);
constexpr Operand kInt8ByBlock = of(E::int8, kByBlock);

// dtype, scales | A | or else | quantised by the call | B | C
constexpr auto kPresets = std::to_array<Preset>({
    {DType::float16, Scales::none, of(E::float16), {}, {}, of(E::float16), E::float16},
    {DType::float16, Scales::block, of(E::float16), {}, kFloat8ByRowAndBlock, kFloat8ByBlock, E::float16},
    {DType::bfloat16, Scales::none, of(E::bfloat16), {}, {}, of(E::bfloat16), E::bfloat16},
    {DType::bfloat16, Scales::block, of(E::bfloat16), {}, kFloat8ByRowAndBlock, kFloat8ByBlock, E::bfloat16},
    {DType::float32, Scales::none, of(E::float32), {}, {}, of(E::float32), E::float32},
    {DType::float32, Scales::block, of(E::float32), {}, kFloat8ByRowAndBlock, kFloat8ByBlock, E::float32},
    {DType::fp8_w8a8, Scales::per_tensor, kFloat8ByExpert, {}, {}, kFloat8ByExpert, E::bfloat16},
    {DType::fp8_w8a8, Scales::per_token_channel, kFloat8ByRow, {}, {}, kFloat8ByRow, E::bfloat16},
    {DType::fp8_w8a8, Scales::block, kFloat8ByRowAndBlock, {}, {}, kFloat8ByBlock, E::bfloat16},
    {DType::int8_w8a16, Scales::per_channel, of(E::bfloat16), E::float16, {}, kInt8ByRow, E::bfloat16},
    {DType::int8_w8a16, Scales::block, of(E::bfloat16), E::float16, {}, kInt8ByBlock, E::bfloat16},
    {DType::int8_w8a8, Scales::per_token_channel, kInt8ByRow, {}, {}, kInt8ByRow, E::bfloat16},
    {DType::int8_w8a8, Scales::block, kInt8ByRowAndBlock, {}, {}, kInt8ByBlock, E::bfloat16},
});

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::float16:
      return "float16";
    case DType::bfloat16:
      return "bfloat16";
    case DType::float32:
      return "float32";
    case DType::fp8_w8a8:
      return "fp8_w8a8";
    case DType::int8_w8a16:
      return "int8_w8a16";
    case DType::int8_w8a8:
      return "int8_w8a8";
  }
  return "";
}

constexpr std::size_t count_dtypes() {
  std::size_t count = 0;
  while (!name_of(static_cast<DType>(count)).empty()) ++count;
  return count;
}

// Where each dtype's rows begin: find_preset is asked in every call.
constexpr auto kFirst = [] {
  std::array<std::size_t, count_dtypes()> first{};
  for (std::size_t dtype = 0; dtype < first.size(); ++dtype) {
    while (first[dtype] < kPresets.size() && kPresets[first[dtype]].dtype != static_cast<DType>(dtype)) ++first[dtype];
  }
  return first;
}();
// A dtype that has a name and no preset does not compile.
static_assert(*std::max_element(kFirst.begin(), kFirst.end()) < kPresets.size());

constexpr E kTypesOfC[] = {E::float16, E::bfloat16, E::float32};

// Those of kElementTypes, in its order, that some preset has.
template <class Has>
std::vector<ElementType> types_that(const Has& has) {
  std::vector<ElementType> types;
  std::copy_if(std::begin(kElementTypes), std::end(kElementTypes), std::back_inserter(types), [&](E type) {
    return std::any_of(kPresets.begin(), kPresets.end(), [&](const Preset& preset) { return has(preset, type); });
  });
  return types;
}

bool has_a(const Preset& preset, E type) { return preset.a.element == type || preset.other_a == type; }

std::vector<std::string_view> dtype_names() {
  std::vector<std::string_view> names;
  for (const Preset& preset : kPresets) {
    if (&preset == &usual_preset(preset.dtype)) names.push_back(name_of(preset.dtype));
  }
  return names;
}

}  // namespace

std::span<const Preset> presets() noexcept { return kPresets; }

const Preset* find_preset(DType dtype, Scales scales) noexcept {
  const Preset* preset = &usual_preset(dtype);
  for (; preset != kPresets.data() + kPresets.size() && preset->dtype == dtype; ++preset) {
    if (preset->scales == scales) return preset;
  }
  return nullptr;
}

const Preset& usual_preset(DType dtype) noexcept {
  const auto index = static_cast<std::size_t>(dtype);
  return kPresets[index < kFirst.size() ? kFirst[index] : 0];
}

const Preset& preset_of(const Problem& problem) noexcept {
  const Preset* preset = find_preset(problem.dtype, scales_of(problem));
  return preset != nullptr ? *preset : usual_preset(problem.dtype);
}

bool has_usual_scales(const Problem& problem) noexcept {
  return scales_of(problem) == usual_scales(problem.dtype, problem.block_shape.has_value());
}

std::vector<ElementType> types_of_a() { return types_that(has_a); }
std::vector<ElementType> types_of_a(const Preset& preset) {
  return types_that([&](const Preset& one, E type) { return &one == &preset && has_a(one, type); });
}
std::vector<ElementType> types_of_b() {
  return types_that([](const Preset& preset, E type) { return preset.b.element == type; });
}
std::span<const ElementType> types_of_c() noexcept { return kTypesOfC; }

std::string join(std::span<const std::string_view> names, std::string_view last) {
  if (names.size() < 2) return names.empty() ? std::string() : std::string(names.front());
  return fmt::format("{} {} {}", fmt::join(names.first(names.size() - 1), ", "), last, names.back());
}

std::string join(std::span<const ElementType> types, std::string_view last) {
  std::vector<std::string_view> names;
  for (const ElementType type : types) names.push_back(name(type));
  return join(names, last);
}

std::string_view name(DType dtype) noexcept { return name_of(dtype); }

std::string dtype_choices() { return join(dtype_names(), "or"); }

Result<DType> parse_dtype(std::string_view text) {
  for (const Preset& preset : kPresets) {
    if (text == name_of(preset.dtype)) return preset.dtype;
  }
  return fail(ErrorCode::invalid_argument, fmt::format("dtype '{}' is not known; choose {}", text, dtype_choices()));
}

Scales usual_scales(DType dtype, bool has_block_shape) noexcept {
  return has_block_shape ? Scales::block : usual_preset(dtype).scales;
}

ElementType weight_type(DType dtype, bool has_block_shape) noexcept {
  const Preset* preset = find_preset(dtype, usual_scales(dtype, has_block_shape));
  return (preset != nullptr ? *preset : usual_preset(dtype)).b.element;
}

ElementType activation_type(DType dtype) noexcept { return usual_preset(dtype).a.element; }

ElementType output_type(DType dtype) noexcept { return usual_preset(dtype).c; }

}  // namespace expertile
