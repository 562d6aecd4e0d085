#pragma once
// AVX-512: 32 registers of 16 floats, blocks of 4 x 6. Included by one file with BF16 and VNNI and by one without.

#include <immintrin.h>

#include "backend/cpu/convert_scalar.hpp"
#include "backend/cpu/microkernel.hpp"

namespace expertile::cpu {
namespace {

struct FloatLanes {
  using Element = float;
  using Vector = __m512;
  using Operand = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kBlockM = 4;
  static constexpr int kBlockN = 6;
  static Vector zero() { return _mm512_setzero_ps(); }
  static Operand load(const Element* from) { return _mm512_loadu_ps(from); }
  static Vector multiply_add(Operand a, Operand b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
  static double sum(Vector v) { return _mm512_reduce_add_ps(v); }
};

struct Int16Lanes {
  using Element = std::int16_t;
  using Vector = __m512i;  // 16 sums of pairs, int32
  using Operand = __m512i;
  static constexpr int kLanes = 32;
  static constexpr int kBlockM = 4;
  static constexpr int kBlockN = 6;
  static Vector zero() { return _mm512_setzero_si512(); }
  static Operand load(const Element* from) { return _mm512_loadu_si512(from); }
  static Vector multiply_add(Operand a, Operand b, Vector c) {
#if defined(__AVX512VNNI__)
    return _mm512_dpwssd_epi32(c, a, b);
#else
    return _mm512_add_epi32(c, _mm512_madd_epi16(a, b));
#endif
  }
  static double sum(Vector v) { return _mm512_reduce_add_epi32(v); }
};

#if defined(__AVX512BF16__)
struct BFloat16Lanes {
  using Element = std::uint16_t;
  using Vector = __m512;  // 16 sums of pairs, float32
  using Operand = __m512bh;
  static constexpr int kLanes = 32;
  static constexpr int kBlockM = 4;
  static constexpr int kBlockN = 6;
  static Vector zero() { return _mm512_setzero_ps(); }
  static Operand load(const Element* from) { return reinterpret_cast<__m512bh>(_mm512_loadu_si512(from)); }
  static Vector multiply_add(Operand a, Operand b, Vector c) { return _mm512_dpbf16_ps(c, a, b); }
  static double sum(Vector v) { return _mm512_reduce_add_ps(v); }
};
#endif

inline __m512 load16(const Float16* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline __m512 load16(const BFloat16* from) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline __m512 load16(const Float32* from) { return _mm512_loadu_ps(from); }
inline __m512 load16(const Int8* from) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
}
// By way of float16, whose conversion takes subnormals at full speed; float16's exponent bias is 8 more than e4m3's.
inline __m512 load16(const Float8E4M3* from) {
  const __m256i bits = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  const __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi16(0x7f));
  const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(bits, _mm256_set1_epi16(0x80)), 8);
  const __m256i nan = _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x7f));
  const __m256i half = _mm256_or_si256(_mm256_or_si256(sign, _mm256_slli_epi16(magnitude, 7)),
                                       _mm256_and_si256(nan, _mm256_set1_epi16(0x7e00)));
  return _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.0F));
}

template <class T>
void vector_to_float(const void* source, float* packed, std::int64_t count, float scale) {
  const T* from = static_cast<const T*>(source);
  const __m512 factor = _mm512_set1_ps(scale);
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) _mm512_storeu_ps(packed + i, _mm512_mul_ps(load16(from + i), factor));
  scalar_to_float<T>(from + i, packed + i, count - i, scale);
}

template <class T>
void vector_to_bfloat16(const void* source, std::uint16_t* packed, std::int64_t count) {
  const T* from = static_cast<const T*>(source);
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m512i bits = _mm512_castps_si512(load16(from + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(packed + i), _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
  }
  scalar_to_bfloat16<T>(from + i, packed + i, count - i);
}

inline void widen_int8(const void* source, std::uint16_t* packed, std::int64_t count) {
  const auto* from = static_cast<const std::int8_t*>(source);
  std::int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i));
    _mm512_storeu_si512(packed + i, _mm512_cvtepi8_epi16(bytes));
  }
  scalar_int16_from_int8(from + i, packed + i, count - i);
}

inline void to_half(const float* source, std::uint16_t* out, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256i half = _mm512_cvtps_ph(_mm512_loadu_ps(source + i), _MM_FROUND_TO_NEAREST_INT);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), half);
  }
  scalar_float16_from_float(source + i, out + i, count - i);
}

constexpr KernelSet avx512_set() {
  KernelSet s;
  s.float_from_float16 = vector_to_float<Float16>;
  s.float_from_bfloat16 = vector_to_float<BFloat16>;
  s.float_from_float32 = vector_to_float<Float32>;
  s.float_from_e4m3 = vector_to_float<Float8E4M3>;
  s.float_from_int8 = vector_to_float<Int8>;
  s.bfloat16_from_e4m3 = vector_to_bfloat16<Float8E4M3>;
  s.bfloat16_from_int8 = vector_to_bfloat16<Int8>;
  s.int16_from_int8 = widen_int8;
  s.float16_from_float = to_half;
  s.multiply_float32 = multiply_panels<FloatLanes>;
  s.multiply_int16 = multiply_panels<Int16Lanes>;
#if defined(__AVX512BF16__)
  s.multiplies_bfloat16 = true;
  s.multiply_bfloat16 = multiply_panels<BFloat16Lanes>;
#endif
  return s;
}

inline bool machine_has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

}  // namespace
}  // namespace expertile::cpu
