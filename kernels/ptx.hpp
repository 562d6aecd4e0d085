#pragma once
// The instructions that the kernels use, one function each. The kernels touch the hardware through this page alone:
// tests/emulator/ptx.hpp supplies the same functions on the host, so that the kernels' own text runs where no GPU is.
//
// Shared memory is addressed by a byte offset from the start of the block's dynamic shared memory. "Collective" means
// that all 32 lanes of a warp call it together.

namespace expertile::ptx {

#define EXPERTILE_DEVICE __device__ __forceinline__

EXPERTILE_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
EXPERTILE_DEVICE int block_index() { return static_cast<int>(blockIdx.x); }
EXPERTILE_DEVICE int grid_size() { return static_cast<int>(gridDim.x); }

// Where the GPU lets a kernel begin before the work ahead of it on the stream has ended (from sm_90 on), this waits for
// that end; what that work wrote is seen after. By every thread, before it touches global memory.
EXPERTILE_DEVICE void wait_for_work_ahead() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// As far as this block is concerned, the kernel behind may begin: its blocks take what room is left, and wait.
EXPERTILE_DEVICE void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Every thread of the block: ordinary and copied shared memory written before is readable after.
EXPERTILE_DEVICE void barrier() { __syncthreads(); }

// The address that shared memory instructions take for an offset.
EXPERTILE_DEVICE unsigned shared_address(unsigned offset) {
  extern __shared__ __align__(1024) unsigned char shared_memory[];
  return static_cast<unsigned>(__cvta_generic_to_shared(shared_memory)) + offset;
}

// ---- global memory ----------------------------------------------------------------------------------------------

// One element of 1, 2, 4, 8 or 16 bytes, aligned to its size. T: unsigned char, unsigned short, unsigned, float, int,
// long long, Bytes8, Bytes16.
struct alignas(8) Bytes8 {
  unsigned word[2];
};
struct alignas(16) Bytes16 {
  unsigned word[4];
};
template <class T>
EXPERTILE_DEVICE T load_global(const T* from) {
  return *from;
}
template <class T>
EXPERTILE_DEVICE void store_global(T* to, T value) {
  *to = value;
}
// Adds to a counter that other blocks add to meanwhile. Returns what it was before.
EXPERTILE_DEVICE int add_global(int* to, int value) { return atomicAdd(to, value); }

// ---- shared memory ----------------------------------------------------------------------------------------------

// As above, by offset; aligned to sizeof(T).
template <class T>
EXPERTILE_DEVICE T load_shared(unsigned offset) {
  extern __shared__ __align__(1024) unsigned char shared_memory[];
  return *reinterpret_cast<const T*>(shared_memory + offset);
}
template <class T>
EXPERTILE_DEVICE void store_shared(unsigned offset, T value) {
  extern __shared__ __align__(1024) unsigned char shared_memory[];
  *reinterpret_cast<T*>(shared_memory + offset) = value;
}

// Adds to a counter of 4 bytes that other threads of the block add to meanwhile. Returns what it was before.
EXPERTILE_DEVICE int add_shared(unsigned offset, int value) {
  extern __shared__ __align__(1024) unsigned char shared_memory[];
  return atomicAdd(reinterpret_cast<int*>(shared_memory + offset), value);
}

// Starts copying `bytes` (0 to 16) from global memory to 16 bytes of shared memory and zero-fills the rest. Both
// aligned to 16; `from` is not read when bytes is 0. Complete after cp_async_wait by this thread, visible to others
// after a barrier that follows.
EXPERTILE_DEVICE void cp_async16(unsigned offset, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(offset)), "l"(from),
               "r"(bytes)
               : "memory");
}
// All 16 bytes.
EXPERTILE_DEVICE void cp_async16(unsigned offset, const void* from) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(shared_address(offset)), "l"(from)
               : "memory");
}
// Closes this thread's group of copies started since the last commit (it may be empty).
EXPERTILE_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `Pending` of this thread's latest groups are incomplete.
template <int Pending>
EXPERTILE_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// Collective. Four matrices of 8 rows x 16 bytes; lane i gives the offset of row i % 8 of matrix i / 8 (16-byte
// aligned). registers[j] of lane l: bytes 4 * (l % 4) .. + 3 of row l / 4 of matrix j.
EXPERTILE_DEVICE void ldmatrix4(unsigned (&registers)[4], unsigned offset) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
               : "r"(shared_address(offset))
               : "memory");
}

// ---- tensor cores (collective) ----------------------------------------------------------------------------------
// d [16, 8] += a [16, 32 bytes] x b [8, 32 bytes]^T. Lane l: d[0], d[1] are row l / 4, columns 2 * (l % 4) and the
// next; d[2], d[3] the same of row l / 4 + 8. a[0], a[2] are row l / 4, bytes 4 * (l % 4) .. + 3 and the same + 16;
// a[1], a[3] of row l / 4 + 8. b[0], b[1] are row l / 4 of b, bytes 4 * (l % 4) .. + 3 and the same + 16.

EXPERTILE_DEVICE void mma_float16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
EXPERTILE_DEVICE void mma_bfloat16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
EXPERTILE_DEVICE void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
EXPERTILE_DEVICE void mma_int8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// ---- between lanes (collective) ---------------------------------------------------------------------------------

// The value of the lane `distance` below; a lane without one keeps its own.
EXPERTILE_DEVICE int shuffle_up(int value, int distance) { return __shfl_up_sync(0xffffffffU, value, distance); }
// The value of a lane, which each may choose.
EXPERTILE_DEVICE int shuffle(int value, int lane) { return __shfl_sync(0xffffffffU, value, lane); }
EXPERTILE_DEVICE long long shuffle(long long value, int lane) { return __shfl_sync(0xffffffffU, value, lane); }
// The same value, which all lanes must have, where the compiler knows that they do and keeps one for all.
EXPERTILE_DEVICE unsigned uniform(unsigned value) { return __reduce_or_sync(0xffffffffU, value); }
// The largest of the lanes' values.
EXPERTILE_DEVICE int largest(int value) { return __reduce_max_sync(0xffffffffU, value); }
// How many lanes say yes.
EXPERTILE_DEVICE int count_lanes(bool yes) { return __popc(__ballot_sync(0xffffffffU, yes)); }
EXPERTILE_DEVICE float shuffle_xor(float value, int mask) { return __shfl_xor_sync(0xffffffffU, value, mask); }
// The lanes that bring the same value as this one, a bit each.
EXPERTILE_DEVICE unsigned lanes_alike(int value) { return __match_any_sync(0xffffffffU, value); }

// ---- bits and rounding ------------------------------------------------------------------------------------------

// Byte i of the result is byte (selector >> 4 * i) & 7 of the eight bytes {low, high}.
EXPERTILE_DEVICE unsigned permute_bytes(unsigned low, unsigned high, unsigned selector) {
  return __byte_perm(low, high, selector);
}
// How many bits are set; the lowest one's place, where one is.
EXPERTILE_DEVICE int count_bits(unsigned bits) { return __popc(bits); }
EXPERTILE_DEVICE int lowest_bit(unsigned bits) { return __ffs(static_cast<int>(bits)) - 1; }
EXPERTILE_DEVICE float float_from_bits(unsigned bits) { return __uint_as_float(bits); }
EXPERTILE_DEVICE unsigned bits_of(float value) { return __float_as_uint(value); }
// To nearest even (float16, bfloat16: overflow to infinity; e4m3: saturating, NaN kept).
EXPERTILE_DEVICE unsigned short float16_bits(float value) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
EXPERTILE_DEVICE unsigned short bfloat16_bits(float value) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
// Two of them in a register, the first in its low half.
EXPERTILE_DEVICE unsigned float16x2_bits(float first, float second) {
  unsigned bits;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(second), "f"(first));
  return bits;
}
EXPERTILE_DEVICE unsigned bfloat16x2_bits(float first, float second) {
  unsigned bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(second), "f"(first));
  return bits;
}
EXPERTILE_DEVICE float float_from_float16(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
// a - b and a * b on two float16 (bfloat16) at a time, to nearest even.
EXPERTILE_DEVICE unsigned subtract_float16x2(unsigned a, unsigned b) {
  unsigned d;
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
EXPERTILE_DEVICE unsigned subtract_bfloat16x2(unsigned a, unsigned b) {
  unsigned d;  // a + -1 * b: sm_80 has no subtraction of its own
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(b), "r"(0xbf80bf80U), "r"(a));
  return d;
}
EXPERTILE_DEVICE unsigned multiply_float16x2(unsigned a, unsigned b) {
  unsigned d;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
// Two e4m3 to two float16, exactly, and two floats to e4m3; only where kConvertsE4m3.
#if __CUDA_ARCH__ >= 890
inline constexpr bool kConvertsE4m3 = true;
// The first to the low byte: to nearest even, saturating at 448; NaN stays NaN.
EXPERTILE_DEVICE unsigned short e4m3x2_bits(float first, float second) {
  unsigned short d;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(d) : "f"(second), "f"(first));
  return d;
}
EXPERTILE_DEVICE unsigned float16x2_from_e4m3(unsigned short pair) {
  unsigned d;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(d) : "h"(pair));
  return d;
}
#else
inline constexpr bool kConvertsE4m3 = false;
EXPERTILE_DEVICE unsigned float16x2_from_e4m3(unsigned short) { return 0; }
EXPERTILE_DEVICE unsigned short e4m3x2_bits(float, float) { return 0; }
#endif
// a / b, correctly rounded, whatever the compiler's flags.
EXPERTILE_DEVICE float divide(float a, float b) { return __fdiv_rn(a, b); }
// e^x, within 2 steps of float32 and 2^-21 of x.
EXPERTILE_DEVICE float exponential(float x) { return __expf(x); }
// 1 / x and a * b + c: the first within one step of float32, the second rounded once.
EXPERTILE_DEVICE float reciprocal(float x) {
  float y;
  asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
EXPERTILE_DEVICE float multiply_add(float a, float b, float c) { return __fmaf_rn(a, b, c); }
// To the nearest even whole number.
EXPERTILE_DEVICE float round_to_even(float value) { return rintf(value); }

}  // namespace expertile::ptx
