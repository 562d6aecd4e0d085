#include "expertile/types.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace expertile {
namespace {

// Rounds a positive finite float to `mantissa` bits below the leading one, ties to even, with the format's smallest
// exponent: below it the spacing stays that of the smallest normal (subnormals). Exact in double.
double round_to_format(double value, int mantissa, int min_exponent) {
  int exponent = 0;
  std::frexp(value, &exponent);  // value = f * 2^exponent, f in [0.5, 1)
  const int spacing = std::max(exponent - 1, min_exponent) - mantissa;
  return std::ldexp(std::nearbyint(std::ldexp(value, -spacing)), spacing);
}

// Bits of a positive value that the format holds exactly: exponent field and mantissa, subnormals with field 0.
std::uint32_t encode(double value, int mantissa, int min_exponent) {
  if (value == 0) return 0;
  int exponent = 0;
  std::frexp(value, &exponent);
  const int unbiased = std::max(exponent - 1, min_exponent);
  const auto scaled = static_cast<std::uint32_t>(std::ldexp(value, mantissa - unbiased));
  const std::uint32_t hidden = 1U << mantissa;
  if (scaled < hidden) return scaled;
  return (static_cast<std::uint32_t>(unbiased - min_exponent + 1) << mantissa) | (scaled - hidden);
}

struct Format {
  std::string_view name;
  int bits = 0;
};

constexpr Format format_of(ElementType type) {
  switch (type) {
    case ElementType::float16:
      return {"float16", 16};
    case ElementType::bfloat16:
      return {"bfloat16", 16};
    case ElementType::float32:
      return {"float32", 32};
    case ElementType::float8_e4m3:
      return {"float8_e4m3", 8};
    case ElementType::int8:
      return {"int8", 8};
    case ElementType::int4:
      return {"int4", 4};
    case ElementType::uint4:
      return {"uint4", 4};
    case ElementType::float4_e2m1:
      return {"float4_e2m1", 4};
    case ElementType::float8_e8m0:
      return {"float8_e8m0", 8};
  }
  return {"unknown", 8};  // no such type: refused like one that nothing multiplies
}

// A type with a format that kElementTypes lacks does not compile.
constexpr bool every_type_is_listed() {
  std::size_t listed = 0;
  for (const ElementType type : kElementTypes) {
    if (type != static_cast<ElementType>(listed++)) return false;
  }
  return format_of(static_cast<ElementType>(listed)).name == "unknown";
}
static_assert(every_type_is_listed());

}  // namespace

float to_float(Float16 value) noexcept {
  const std::uint32_t sign = (value.bits & 0x8000U) << 16;
  const std::uint32_t magnitude = value.bits & 0x7fffU;
  if (magnitude >= 0x7c00U) return std::bit_cast<float>(sign | 0x7f800000U | ((magnitude & 0x3ffU) << 13));
  // The shifted bits read as a float are 2^112 too small, subnormals included.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | sign);
}

float to_float(BFloat16 value) noexcept { return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16); }

float to_float(Float8E4M3 value) noexcept {
  const std::uint32_t sign = (value.bits & 0x80U) << 24;
  const std::uint32_t magnitude = value.bits & 0x7fU;
  if (magnitude == 0x7fU) return std::bit_cast<float>(sign | 0x7fc00000U);
  const float scaled = std::bit_cast<float>(magnitude << 20) * 0x1p120F;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | sign);
}

Float16 to_float16(float value) noexcept {
  const auto sign = static_cast<std::uint16_t>((std::bit_cast<std::uint32_t>(value) >> 16) & 0x8000U);
  if (std::isnan(value)) return {static_cast<std::uint16_t>(sign | 0x7e00U)};
  const double magnitude = std::fabs(static_cast<double>(value));
  if (magnitude >= 65520.0) return {static_cast<std::uint16_t>(sign | 0x7c00U)};  // rounds past 65504: infinity
  const std::uint32_t bits = encode(round_to_format(magnitude, 10, -14), 10, -14);
  return {static_cast<std::uint16_t>(sign | bits)};
}

BFloat16 to_bfloat16(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return {static_cast<std::uint16_t>((bits >> 16) | 0x40U)};
  // Adding just under half a step, and one more where the kept bit is odd, rounds ties to even; carries reach infinity.
  return {static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16)};
}

Float8E4M3 to_float8_e4m3(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint8_t>((bits >> 24) & 0x80U);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return {static_cast<std::uint8_t>(sign | 0x7fU)};
  if (magnitude >= 0x43e00000U) return {static_cast<std::uint8_t>(sign | 0x7eU)};  // 448 and up saturate
  if (magnitude <
      0x3c800000U) {  // below 2^-6 the step is 2^-9: adding 2^14 leaves the rounded count of steps in the low bits
    const float counted = std::bit_cast<float>(magnitude) + 0x1p14F;
    return {static_cast<std::uint8_t>(sign | (std::bit_cast<std::uint32_t>(counted) & 0xfU))};
  }
  const std::uint32_t rounded = magnitude + 0x7ffffU + ((magnitude >> 20) & 1U);
  return {static_cast<std::uint8_t>(sign | ((rounded >> 20) - (120U << 3)))};
}

int bits_of(ElementType type) noexcept { return format_of(type).bits; }
std::string_view name(ElementType type) noexcept { return format_of(type).name; }

std::int64_t bytes_of(ElementType type, std::int64_t elements) noexcept {
  const std::int64_t bits = bits_of(type);
  return elements / 8 * bits + (elements % 8 * bits + 7) / 8;  // eight elements have as many bytes as one has bits
}

std::size_t size_of(ElementType type) noexcept { return static_cast<std::size_t>(bytes_of(type, 1)); }

std::string_view name(Scales scales) noexcept {
  switch (scales) {
    case Scales::none:
      return "none";
    case Scales::per_tensor:
      return "per_tensor";
    case Scales::per_token_channel:
      return "per_token_channel";
    case Scales::per_channel:
      return "per_channel";
    case Scales::block:
      return "block";
  }
  return "";
}

}  // namespace expertile
