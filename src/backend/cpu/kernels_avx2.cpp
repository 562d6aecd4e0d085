// AVX2 with FMA and F16C: 16 registers of 8 floats, blocks of 3 x 4.

#include "backend/cpu/convert_scalar.hpp"
#include "backend/cpu/microkernel.hpp"

#if defined(__x86_64__)
#include <immintrin.h>

namespace expertile::cpu {
namespace {

struct FloatLanes {
  using Element = float;
  using Vector = __m256;
  using Operand = __m256;
  static constexpr int kLanes = 8;
  static constexpr int kBlockM = 3;
  static constexpr int kBlockN = 4;
  static Vector zero() { return _mm256_setzero_ps(); }
  static Operand load(const Element* from) { return _mm256_loadu_ps(from); }
  static Vector multiply_add(Operand a, Operand b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
  static double sum(Vector v) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
  }
};

struct Int16Lanes {
  using Element = std::int16_t;
  using Vector = __m256i;  // 8 sums of pairs, int32
  using Operand = __m256i;
  static constexpr int kLanes = 16;
  static constexpr int kBlockM = 3;
  static constexpr int kBlockN = 4;
  static Vector zero() { return _mm256_setzero_si256(); }
  static Operand load(const Element* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
  static Vector multiply_add(Operand a, Operand b, Vector c) { return _mm256_add_epi32(c, _mm256_madd_epi16(a, b)); }
  static double sum(Vector v) {
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1));
    return _mm_cvtsi128_si32(half);
  }
};

__m256 load8(const Float16* from) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))); }
__m256 load8(const BFloat16* from) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
__m256 load8(const Float32* from) { return _mm256_loadu_ps(reinterpret_cast<const float*>(from)); }
__m256 load8(const Int8* from) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))));
}
// By way of float16, whose conversion takes subnormals at full speed; float16's exponent bias is 8 more than e4m3's.
__m256 load8(const Float8E4M3* from) {
  const __m128i bits = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
  const __m128i magnitude = _mm_and_si128(bits, _mm_set1_epi16(0x7f));
  const __m128i sign = _mm_slli_epi16(_mm_and_si128(bits, _mm_set1_epi16(0x80)), 8);
  const __m128i nan = _mm_cmpeq_epi16(magnitude, _mm_set1_epi16(0x7f));
  const __m128i half =
      _mm_or_si128(_mm_or_si128(sign, _mm_slli_epi16(magnitude, 7)), _mm_and_si128(nan, _mm_set1_epi16(0x7e00)));
  return _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256.0F));
}

template <class T>
void vector_to_float(const void* source, float* packed, std::int64_t count, float scale) {
  const T* from = static_cast<const T*>(source);
  const __m256 factor = _mm256_set1_ps(scale);
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) _mm256_storeu_ps(packed + i, _mm256_mul_ps(load8(from + i), factor));
  scalar_to_float<T>(from + i, packed + i, count - i, scale);
}

void widen_int8(const void* source, std::uint16_t* packed, std::int64_t count) {
  const auto* from = static_cast<const std::int8_t*>(source);
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(packed + i), _mm256_cvtepi8_epi16(bytes));
  }
  scalar_int16_from_int8(from + i, packed + i, count - i);
}

void to_half(const float* source, std::uint16_t* out, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(source + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), half);
  }
  scalar_float16_from_float(source + i, out + i, count - i);
}

}  // namespace

const KernelSet* avx2_kernels() {
  // Every CPU with AVX2 has F16C; clang 14 does not know that feature's name.
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return nullptr;
  static constexpr KernelSet set = [] {
    KernelSet s;
    s.float_from_float16 = vector_to_float<Float16>;
    s.float_from_bfloat16 = vector_to_float<BFloat16>;
    s.float_from_float32 = vector_to_float<Float32>;
    s.float_from_e4m3 = vector_to_float<Float8E4M3>;
    s.float_from_int8 = vector_to_float<Int8>;
    s.bfloat16_from_e4m3 = scalar_to_bfloat16<Float8E4M3>;
    s.bfloat16_from_int8 = scalar_to_bfloat16<Int8>;
    s.int16_from_int8 = widen_int8;
    s.float16_from_float = to_half;
    s.multiply_float32 = multiply_panels<FloatLanes>;
    s.multiply_int16 = multiply_panels<Int16Lanes>;
    return s;
  }();
  return &set;
}

}  // namespace expertile::cpu
#else
namespace expertile::cpu {
const KernelSet* avx2_kernels() { return nullptr; }
}  // namespace expertile::cpu
#endif
