#pragma once
// Eight elements of a row at a time, as floats.

#include <ptx.hpp>

#include "kernel_spec.hpp"
#include "layer/narrowing.hpp"

namespace expertile {

EXPERTILE_DEVICE bool begins_at(const void* address, int bytes) {
  return reinterpret_cast<unsigned long long>(address) % static_cast<unsigned>(bytes) == 0;
}

template <Storage S>
EXPERTILE_DEVICE float load_float(const void* from, long long index) {
  if constexpr (S == Storage::float32) {
    return ptx::load_global(static_cast<const float*>(from) + index);
  } else {
    const unsigned short bits = ptx::load_global(static_cast<const unsigned short*>(from) + index);
    return S == Storage::float16 ? ptx::float_from_float16(bits)
                                 : ptx::float_from_bits(static_cast<unsigned>(bits) << 16);
  }
}

template <Storage S>
EXPERTILE_DEVICE float half_of_word(unsigned word, int half) {
  if constexpr (S == Storage::float16) return ptx::float_from_float16(static_cast<unsigned short>(word >> 16 * half));
  return ptx::float_from_bits(half == 0 ? word << 16 : word & 0xffff0000U);
}

// Elements [index, index + count) of `from`, zeros behind them. S: float16, bfloat16 or float32.
template <Storage S>
EXPERTILE_DEVICE void load_eight(const void* from, long long index, int count, float (&out)[8]) {
  const char* first = static_cast<const char*>(from) + index * size_of(S);
  if (count < 8 || !begins_at(first, 16)) {
#pragma unroll
    for (int i = 0; i < 8; ++i) out[i] = i < count ? load_float<S>(first, i) : 0.0F;
    return;
  }
#pragma unroll
  for (int part = 0; part < size_of(S) / 2; ++part) {  // of 16 bytes
    const ptx::Bytes16 bytes = ptx::load_global(reinterpret_cast<const ptx::Bytes16*>(first) + part);
#pragma unroll
    for (int word = 0; word < 4; ++word) {
      if constexpr (S == Storage::float32) {
        out[4 * part + word] = ptx::float_from_bits(bytes.word[word]);
      } else {
        out[2 * word] = half_of_word<S>(bytes.word[word], 0);
        out[2 * word + 1] = half_of_word<S>(bytes.word[word], 1);
      }
    }
  }
}

// Of a type that is known when the kernel runs.
EXPERTILE_DEVICE void load_eight(Storage type, const void* from, long long index, int count, float (&out)[8]) {
  if (type == Storage::bfloat16) {
    load_eight<Storage::bfloat16>(from, index, count, out);
  } else if (type == Storage::float16) {
    load_eight<Storage::float16>(from, index, count, out);
  } else {
    load_eight<Storage::float32>(from, index, count, out);
  }
}

// Four elements, or two of 16 bits, or one of 32, rounded to S.
template <Storage S>
EXPERTILE_DEVICE unsigned word_of(const float* values) {
  if constexpr (S == Storage::float32) return ptx::bits_of(values[0]);
  if constexpr (S == Storage::float16) return ptx::float16x2_bits(values[0], values[1]);
  if constexpr (S == Storage::bfloat16) return ptx::bfloat16x2_bits(values[0], values[1]);
  return narrowed_four<S>(values);
}

// A row's elements [index, index + count).
template <Storage S>
EXPERTILE_DEVICE void store_eight(void* to, long long index, int count, const float (&values)[8]) {
  constexpr int kInAWord = 4 / size_of(S);
  constexpr int kWords = 8 / kInAWord;
  unsigned words[kWords];
#pragma unroll
  for (int word = 0; word < kWords; ++word) words[word] = word_of<S>(values + word * kInAWord);
  char* first = static_cast<char*>(to) + index * size_of(S);
  if (count == 8 && begins_at(first, size_of(S) == 1 ? 8 : 16)) {
    if constexpr (size_of(S) == 1) {
      ptx::store_global(reinterpret_cast<ptx::Bytes8*>(first), ptx::Bytes8{{words[0], words[1]}});
    } else {
#pragma unroll
      for (int part = 0; part < kWords / 4; ++part) {
        const ptx::Bytes16 bytes{{words[4 * part], words[4 * part + 1], words[4 * part + 2], words[4 * part + 3]}};
        ptx::store_global(reinterpret_cast<ptx::Bytes16*>(first) + part, bytes);
      }
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const unsigned bits = words[i / kInAWord] >> 8 * size_of(S) * (i % kInAWord) % 32;
    if (i >= count) continue;
    if constexpr (size_of(S) == 4) ptx::store_global(reinterpret_cast<unsigned*>(first) + i, bits);
    if constexpr (size_of(S) == 2) {
      ptx::store_global(reinterpret_cast<unsigned short*>(first) + i, static_cast<unsigned short>(bits));
    }
    if constexpr (size_of(S) == 1) {
      ptx::store_global(reinterpret_cast<unsigned char*>(first) + i, static_cast<unsigned char>(bits));
    }
  }
}

}  // namespace expertile
