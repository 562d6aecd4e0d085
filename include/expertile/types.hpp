#pragma once
// Storage types of the tensors and the names of the operation's dtypes.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "expertile/error.hpp"

namespace expertile {

// What one element of a tensor is stored as.
enum class ElementType { float16, bfloat16, float32, float8_e4m3, int8 };

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

[[nodiscard]] std::size_t size_of(ElementType type) noexcept;  // bytes
[[nodiscard]] std::string_view name(ElementType type) noexcept;
[[nodiscard]] std::string_view name(DType dtype) noexcept;
[[nodiscard]] std::string_view name(Scales scales) noexcept;
[[nodiscard]] Result<DType> parse_dtype(std::string_view text);  // error names the value and every choice

// How B, the weights, are stored for a dtype; a block_shape turns float weights into e4m3.
[[nodiscard]] ElementType weight_type(DType dtype, bool has_block_shape) noexcept;
// How A is stored in the benchmarks' problems (int8_w8a16 accepts float16 too at the API).
[[nodiscard]] ElementType activation_type(DType dtype) noexcept;
// C's type in the benchmarks' problems: A's for float dtypes, else bfloat16.
[[nodiscard]] ElementType output_type(DType dtype) noexcept;

}  // namespace expertile
