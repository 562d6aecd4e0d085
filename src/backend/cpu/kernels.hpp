#pragma once
// What an instruction set supplies to the CPU backend: conversions into the compute type, and the panel product.
// This header is included by files compiled for different instruction sets: declarations and plain data only.

#include <cstdint>

namespace expertile::cpu {

// Packed rows are padded with zeros to a multiple of this many elements, so that no product has a tail.
inline constexpr std::int64_t kPackAlignment = 32;

// acc[m, n] += sum over k of a[m, k] * b[n, k], for rows of A and of B that are contiguous along k.
struct PanelProduct {
  const void* a = nullptr;  // [m, k] of the compute type
  std::int64_t a_pitch = 0;
  const void* b = nullptr;  // [n, k] of the compute type
  std::int64_t b_pitch = 0;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::int64_t k = 0;     // multiple of kPackAlignment; at most 65536, so that int32 sums of int8 products are exact
  double* acc = nullptr;  // [m, n]
  std::int64_t acc_pitch = 0;
};

// What the operands are multiplied as. Every source converts exactly: int8 -> int16; bfloat16, e4m3, int8 -> bfloat16;
// everything -> float32.
enum class Compute { float32, bfloat16, int16 };

// packed[i] = source[i] * scale, in float32.
using ToFloat = void (*)(const void* source, float* packed, std::int64_t count, float scale);
using Widen = void (*)(const void* source, std::uint16_t* packed, std::int64_t count);

struct KernelSet {
  bool multiplies_bfloat16 = false;  // has `multiply[Compute::bfloat16]`
  ToFloat float_from_float16 = nullptr;
  ToFloat float_from_bfloat16 = nullptr;
  ToFloat float_from_float32 = nullptr;
  ToFloat float_from_e4m3 = nullptr;
  ToFloat float_from_int8 = nullptr;
  Widen bfloat16_from_e4m3 = nullptr;
  Widen bfloat16_from_int8 = nullptr;
  Widen int16_from_int8 = nullptr;
  void (*float16_from_float)(const float* source, std::uint16_t* out, std::int64_t count) = nullptr;
  void (*multiply_float32)(const PanelProduct&) = nullptr;
  void (*multiply_bfloat16)(const PanelProduct&) = nullptr;
  void (*multiply_int16)(const PanelProduct&) = nullptr;
};

// Null where this build or this machine lacks the instructions.
[[nodiscard]] const KernelSet* portable_kernels();
[[nodiscard]] const KernelSet* avx2_kernels();
[[nodiscard]] const KernelSet* avx512_kernels();
[[nodiscard]] const KernelSet* avx512_bf16_kernels();  // with BF16 and VNNI

}  // namespace expertile::cpu
