#pragma once
// The functions of kernels/ptx.hpp on the host. Every one knows the place in the kernel that called it.

#include <bit>
#include <cmath>
#include <cstring>

#include "emulator/emulator.hpp"
#include "emulator/tensor_core.hpp"
#include "expertile/types.hpp"

#define EXPERTILE_DEVICE inline

namespace expertile::ptx {

using emulator::Where;

EXPERTILE_DEVICE int thread_index() { return emulator::thread_index(); }
EXPERTILE_DEVICE int block_index() { return emulator::block_index(); }
EXPERTILE_DEVICE int grid_size() { return emulator::grid_size(); }
EXPERTILE_DEVICE void wait_for_work_ahead() {}
EXPERTILE_DEVICE void let_next_begin() {}
EXPERTILE_DEVICE void barrier(const Where& where = Where::current()) { emulator::barrier(where); }

// ---- global and shared memory ---------------------------------------------------------------------------------------

struct alignas(8) Bytes8 {
  unsigned word[2];
};
struct alignas(16) Bytes16 {
  unsigned word[4];
};
template <class T>
EXPERTILE_DEVICE T load_global(const T* from, const Where& where = Where::current()) {
  T value;
  emulator::read_global(from, sizeof(T), &value, where);
  return value;
}
template <class T>
EXPERTILE_DEVICE void store_global(T* to, T value, const Where& where = Where::current()) {
  emulator::write_global(to, sizeof(T), &value, where);
}
EXPERTILE_DEVICE int add_global(int* to, int value, const Where& where = Where::current()) {
  return emulator::add_global(to, value, where);
}
template <class T>
EXPERTILE_DEVICE T load_shared(unsigned offset, const Where& where = Where::current()) {
  T value;
  emulator::read_shared(offset, sizeof(T), &value, where);
  return value;
}
template <class T>
EXPERTILE_DEVICE void store_shared(unsigned offset, T value, const Where& where = Where::current()) {
  emulator::write_shared(offset, sizeof(T), &value, where);
}
EXPERTILE_DEVICE int add_shared(unsigned offset, int value, const Where& where = Where::current()) {
  return emulator::add_shared(offset, value, where);
}

EXPERTILE_DEVICE void cp_async16(unsigned offset, const void* from, int bytes, const Where& where = Where::current()) {
  emulator::copy_async(offset, from, bytes, where);
}
EXPERTILE_DEVICE void cp_async16(unsigned offset, const void* from, const Where& where = Where::current()) {
  emulator::copy_async(offset, from, 16, where);
}
EXPERTILE_DEVICE void cp_async_commit() { emulator::commit_copies(); }
template <int PENDING>
EXPERTILE_DEVICE void cp_async_wait(const Where& where = Where::current()) {
  emulator::wait_for_copies(PENDING, where);
}

struct LdmatrixLane {
  unsigned* registers;
  unsigned offset;
};
EXPERTILE_DEVICE void ldmatrix4(unsigned (&registers)[4], unsigned offset, const Where& where = Where::current()) {
  LdmatrixLane mine{registers, offset};
  const auto load = [&where](const emulator::Lanes& lanes) {
    for (int row = 0; row < 32; ++row) {  // row % 8 of matrix row / 8
      unsigned chunk[4];
      const auto& from = *static_cast<const LdmatrixLane*>(lanes[static_cast<std::size_t>(row)]);
      emulator::read_shared_of_lane(row, from.offset, sizeof(chunk), chunk, where);
      for (int word = 0; word < 4; ++word) {
        const auto lane = static_cast<std::size_t>(row % 8 * 4 + word);
        static_cast<LdmatrixLane*>(lanes[lane])->registers[row / 8] = chunk[word];
      }
    }
  };
  emulator::together("ldmatrix4", &mine, load, where);
}

// ---- tensor cores ---------------------------------------------------------------------------------------------------

template <class Sum, class Total, int LENGTH, class At>
EXPERTILE_DEVICE void mma(const char* name, Sum (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], const At& at,
                          const Where& where) {
  emulator::MmaLane<Sum> mine{d, a, b};
  emulator::together(
      name, &mine, [&](const emulator::Lanes& lanes) { emulator::multiply_add<Sum, Total, LENGTH>(lanes, at); }, where);
}
EXPERTILE_DEVICE void mma_float16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                                  const Where& where = Where::current()) {
  mma<float, double, 16>("mma_float16", d, a, b, emulator::float16_at, where);
}
EXPERTILE_DEVICE void mma_bfloat16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                                   const Where& where = Where::current()) {
  mma<float, double, 16>("mma_bfloat16", d, a, b, emulator::bfloat16_at, where);
}
EXPERTILE_DEVICE void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                               const Where& where = Where::current()) {
  mma<float, double, 8>("mma_tf32", d, a, b, emulator::tf32_at, where);
}
EXPERTILE_DEVICE void mma_int8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                               const Where& where = Where::current()) {
  mma<int, std::int32_t, 32>("mma_int8", d, a, b, emulator::int8_at, where);
}

// ---- between lanes --------------------------------------------------------------------------------------------------

template <class T>
struct ShuffleLane {
  T value;
  int from;
  T result;
};
template <class T>
EXPERTILE_DEVICE T exchange(const char* name, T value, int from, const Where& where) {
  ShuffleLane<T> mine{value, from, value};
  const auto move = [](const emulator::Lanes& lanes) {
    for (void* lane : lanes) {
      auto& one = *static_cast<ShuffleLane<T>*>(lane);
      one.result = static_cast<const ShuffleLane<T>*>(lanes[static_cast<std::size_t>(one.from)])->value;
    }
  };
  emulator::together(name, &mine, move, where);
  return mine.result;
}
EXPERTILE_DEVICE int shuffle_up(int value, int distance, const Where& where = Where::current()) {
  const int lane = thread_index() % 32;
  return exchange("shuffle_up", value, lane >= distance ? lane - distance : lane, where);
}
EXPERTILE_DEVICE int shuffle(int value, int lane, const Where& where = Where::current()) {
  return exchange("shuffle", value, lane % 32, where);
}
EXPERTILE_DEVICE long long shuffle(long long value, int lane, const Where& where = Where::current()) {
  return exchange("shuffle", value, lane % 32, where);
}
// Each lane keeps its own: products whose operands differ are stopped.
EXPERTILE_DEVICE unsigned uniform(unsigned value, const Where& where = Where::current()) {
  return exchange("uniform", value, thread_index() % 32, where);
}
EXPERTILE_DEVICE float shuffle_xor(float value, int mask, const Where& where = Where::current()) {
  return exchange("shuffle_xor", value, (thread_index() % 32) ^ mask, where);
}
EXPERTILE_DEVICE unsigned lanes_alike(int value, const Where& where = Where::current()) {
  struct Lane {
    int value;
    unsigned alike;
  } mine{value, 0};
  const auto compare = [](const emulator::Lanes& lanes) {
    for (void* one : lanes) {
      for (std::size_t other = 0; other < lanes.size(); ++other) {
        const bool is_alike = static_cast<const Lane*>(lanes[other])->value == static_cast<const Lane*>(one)->value;
        if (is_alike) static_cast<Lane*>(one)->alike |= 1U << other;
      }
    }
  };
  emulator::together("lanes_alike", &mine, compare, where);
  return mine.alike;
}
EXPERTILE_DEVICE int largest(int value, const Where& where = Where::current()) {
  for (int mask = 16; mask > 0; mask /= 2) {
    const int other = exchange("largest", value, (thread_index() % 32) ^ mask, where);
    if (other > value) value = other;
  }
  return value;
}
EXPERTILE_DEVICE int count_lanes(bool yes, const Where& where = Where::current()) {
  struct Vote {
    bool yes;
    int count;
  } mine{yes, 0};
  const auto count = [](const emulator::Lanes& lanes) {
    int all = 0;
    for (void* lane : lanes) all += static_cast<const Vote*>(lane)->yes ? 1 : 0;
    for (void* lane : lanes) static_cast<Vote*>(lane)->count = all;
  };
  emulator::together("count_lanes", &mine, count, where);
  return mine.count;
}

// ---- bits and rounding ----------------------------------------------------------------------------------------------

EXPERTILE_DEVICE unsigned permute_bytes(unsigned low, unsigned high, unsigned selector) {
  const std::uint64_t all = static_cast<std::uint64_t>(high) << 32 | low;
  unsigned result = 0;
  for (unsigned i = 0; i < 4; ++i) {
    result |= static_cast<unsigned>(all >> (8 * (selector >> (4 * i) & 7U)) & 0xffU) << (8 * i);
  }
  return result;
}
EXPERTILE_DEVICE int count_bits(unsigned bits) { return std::popcount(bits); }
EXPERTILE_DEVICE int lowest_bit(unsigned bits) { return std::countr_zero(bits); }
EXPERTILE_DEVICE float float_from_bits(unsigned bits) { return std::bit_cast<float>(bits); }
EXPERTILE_DEVICE unsigned bits_of(float value) { return std::bit_cast<unsigned>(value); }
EXPERTILE_DEVICE unsigned short float16_bits(float value) { return to_float16(value).bits; }
EXPERTILE_DEVICE unsigned short bfloat16_bits(float value) { return to_bfloat16(value).bits; }
EXPERTILE_DEVICE unsigned float16x2_bits(float first, float second) {
  return float16_bits(first) | static_cast<unsigned>(float16_bits(second)) << 16U;
}
EXPERTILE_DEVICE unsigned bfloat16x2_bits(float first, float second) {
  return bfloat16_bits(first) | static_cast<unsigned>(bfloat16_bits(second)) << 16U;
}
EXPERTILE_DEVICE float float_from_float16(unsigned short bits) { return to_float(Float16{bits}); }
// f on both halves of two registers.
template <class F>
EXPERTILE_DEVICE unsigned on_halves(unsigned a, unsigned b, const F& f) {
  const auto half = [&](unsigned shift) {
    return static_cast<unsigned>(f(static_cast<unsigned short>(a >> shift), static_cast<unsigned short>(b >> shift)))
           << shift;
  };
  return half(0) | half(16);
}
EXPERTILE_DEVICE unsigned subtract_float16x2(unsigned a, unsigned b) {
  return on_halves(a, b, [](unsigned short x, unsigned short y) {
    return float16_bits(to_float(Float16{x}) - to_float(Float16{y}));
  });
}
EXPERTILE_DEVICE unsigned multiply_float16x2(unsigned a, unsigned b) {
  return on_halves(a, b, [](unsigned short x, unsigned short y) {
    return float16_bits(to_float(Float16{x}) * to_float(Float16{y}));
  });
}
EXPERTILE_DEVICE unsigned subtract_bfloat16x2(unsigned a, unsigned b) {
  return on_halves(a, b, [](unsigned short x, unsigned short y) {
    return bfloat16_bits(to_float(BFloat16{x}) - to_float(BFloat16{y}));
  });
}
inline constexpr bool kConvertsE4m3 = true;
EXPERTILE_DEVICE unsigned float16x2_from_e4m3(unsigned short pair) {
  const auto half = [](unsigned bits) {
    return static_cast<unsigned>(float16_bits(to_float(Float8E4M3{static_cast<std::uint8_t>(bits)})));
  };
  return half(pair & 0xffU) | half(pair >> 8U) << 16U;
}
EXPERTILE_DEVICE unsigned short e4m3x2_bits(float first, float second) {
  return static_cast<unsigned short>(to_float8_e4m3(first).bits | to_float8_e4m3(second).bits << 8);
}
EXPERTILE_DEVICE float divide(float a, float b) { return a / b; }
EXPERTILE_DEVICE float exponential(float x) { return std::exp(x); }
EXPERTILE_DEVICE float reciprocal(float x) { return 1.0F / x; }
EXPERTILE_DEVICE float multiply_add(float a, float b, float c) { return std::fma(a, b, c); }
EXPERTILE_DEVICE float round_to_even(float value) { return std::nearbyint(value); }

}  // namespace expertile::ptx
