#pragma once
// Storage types of the tensors and the names of the operation's dtypes.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "expertile/error.hpp"

namespace expertile {

// What one element of a tensor, or of its scales, is stored as; names as in ml_dtypes, without their endings. Kernels
// multiply the first five; the others are words for operands to come (operand.hpp), and every call refuses them.
enum class ElementType {
  float16,
  bfloat16,
  float32,
  float8_e4m3,
  int8,
  int4,         // two's complement
  uint4,        // with zero points
  float4_e2m1,  // 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives
  float8_e8m0,  // of scales: 2^(bits - 127)
};
inline constexpr ElementType kElementTypes[] = {
    ElementType::float16, ElementType::bfloat16, ElementType::float32,     ElementType::float8_e4m3, ElementType::int8,
    ElementType::int4,    ElementType::uint4,    ElementType::float4_e2m1, ElementType::float8_e8m0};

// IEEE binary16, bfloat16 and OCP e4m3 ("fn": no infinities, 0x7f and 0xff are NaN) as storage types.
// Conversions from float round to nearest even; subnormals are kept; NaN stays NaN.
// float16 and bfloat16 overflow to infinity; e4m3 saturates at +-448 (infinities too).
struct Float16 {
  std::uint16_t bits = 0;
};
struct BFloat16 {
  std::uint16_t bits = 0;
};
struct Float8E4M3 {
  std::uint8_t bits = 0;
};

inline constexpr float kFloat8E4M3Max = 448.0F;

[[nodiscard]] float to_float(Float16 value) noexcept;
[[nodiscard]] float to_float(BFloat16 value) noexcept;
[[nodiscard]] float to_float(Float8E4M3 value) noexcept;
[[nodiscard]] Float16 to_float16(float value) noexcept;
[[nodiscard]] BFloat16 to_bfloat16(float value) noexcept;
[[nodiscard]] Float8E4M3 to_float8_e4m3(float value) noexcept;

// The operation's dtype, by the names that the file and the command line use.
enum class DType { float16, bfloat16, float32, fp8_w8a8, int8_w8a16, int8_w8a8 };

// How the operands are dequantised; shapes in docs of GroupedGemmArgs.
enum class Scales {
  none,               // float16, bfloat16, float32 without a block_shape
  per_tensor,         // fp8_w8a8: scale_a [E], scale_b [E], both indexed by expert
  per_token_channel,  // fp8_w8a8, int8_w8a8: scale_a [M], scale_b [E, N]
  per_channel,        // int8_w8a16: scale_b [E, N]
  block,              // any dtype with a block_shape
};

struct BlockShape {
  std::int64_t n = 0;
  std::int64_t k = 0;
  friend bool operator==(const BlockShape&, const BlockShape&) = default;
};

[[nodiscard]] int bits_of(ElementType type) noexcept;
// Bytes of so many elements that lie back to back, two of 4 bits in a byte, the first in its lower half; rounded up.
[[nodiscard]] std::int64_t bytes_of(ElementType type, std::int64_t elements) noexcept;
// Bytes of one element of a type that has whole bytes: all that kernels multiply or write.
[[nodiscard]] std::size_t size_of(ElementType type) noexcept;
[[nodiscard]] std::string_view name(ElementType type) noexcept;
[[nodiscard]] std::string_view name(DType dtype) noexcept;
[[nodiscard]] std::string_view name(Scales scales) noexcept;
[[nodiscard]] Result<DType> parse_dtype(std::string_view text);  // error names the value and every choice
[[nodiscard]] std::string dtype_choices();                       // "float16, bfloat16, ... or int8_w8a8"

// These three stand for the dtype's usual operands; operand.hpp has all of a problem's.
// How B, the weights, are stored for a dtype; a block_shape turns float weights into e4m3.
[[nodiscard]] ElementType weight_type(DType dtype, bool has_block_shape) noexcept;
// How A is stored in the benchmarks' problems (int8_w8a16 accepts float16 too at the API).
[[nodiscard]] ElementType activation_type(DType dtype) noexcept;
// C's type in the benchmarks' problems: A's for float dtypes, else bfloat16.
[[nodiscard]] ElementType output_type(DType dtype) noexcept;

}  // namespace expertile
