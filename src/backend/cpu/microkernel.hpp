#pragma once
// The panel product, written once over a vector type V and compiled for each instruction set.
//
// Both operands are contiguous along K, so a vector holds consecutive k of one row: a block of MR x NR outputs keeps
// MR * NR vectors of partial sums in registers, each step loads MR + NR vectors for MR * NR multiply-adds, and only at
// the end of the panel is a vector summed to one number. No transposition is ever needed, and one row of A (decode)
// runs at the speed at which B can be read.
//
// Everything is in an unnamed namespace: the linker must never merge these across instruction sets.

#include "backend/cpu/kernels.hpp"

namespace expertile::cpu {
namespace {

template <class V, int MR, int NR>
[[gnu::noinline]] void multiply_block(const typename V::Element* a, std::int64_t a_pitch, const typename V::Element* b,
                                      std::int64_t b_pitch, std::int64_t k, double* acc, std::int64_t acc_pitch) {
  typename V::Vector sums[MR][NR];
  for (int m = 0; m < MR; ++m) {
    for (int n = 0; n < NR; ++n) sums[m][n] = V::zero();
  }
  for (std::int64_t i = 0; i < k; i += V::kLanes) {
    typename V::Operand columns[NR];
#pragma GCC unroll 8
    for (int n = 0; n < NR; ++n) columns[n] = V::load(b + n * b_pitch + i);
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const typename V::Operand row = V::load(a + m * a_pitch + i);
#pragma GCC unroll 8
      for (int n = 0; n < NR; ++n) sums[m][n] = V::multiply_add(row, columns[n], sums[m][n]);
    }
  }
  for (int m = 0; m < MR; ++m) {
    for (int n = 0; n < NR; ++n) acc[m * acc_pitch + n] += V::sum(sums[m][n]);
  }
}

// Runs the block of exactly (rows, columns), counting down from (MR, NR) at compile time.
template <class V, int MR, int NR>
void multiply_edge(std::int64_t rows, std::int64_t columns, const typename V::Element* a, std::int64_t a_pitch,
                   const typename V::Element* b, std::int64_t b_pitch, std::int64_t k, double* acc,
                   std::int64_t acc_pitch) {
  if constexpr (MR > 1) {
    if (rows < MR) return multiply_edge<V, MR - 1, NR>(rows, columns, a, a_pitch, b, b_pitch, k, acc, acc_pitch);
  }
  if constexpr (NR > 1) {
    if (columns < NR) return multiply_edge<V, MR, NR - 1>(rows, columns, a, a_pitch, b, b_pitch, k, acc, acc_pitch);
  }
  multiply_block<V, MR, NR>(a, a_pitch, b, b_pitch, k, acc, acc_pitch);
}

// The block of B (NR rows of a panel) stays in L1 while the rows of A pass by.
template <class V>
void multiply_panels(const PanelProduct& p) {
  const auto* a = static_cast<const typename V::Element*>(p.a);
  const auto* b = static_cast<const typename V::Element*>(p.b);
  for (std::int64_t n = 0; n < p.n; n += V::kBlockN) {
    const std::int64_t columns = p.n - n < V::kBlockN ? p.n - n : V::kBlockN;
    for (std::int64_t m = 0; m < p.m; m += V::kBlockM) {
      const std::int64_t rows = p.m - m < V::kBlockM ? p.m - m : V::kBlockM;
      multiply_edge<V, V::kBlockM, V::kBlockN>(rows, columns, a + m * p.a_pitch, p.a_pitch, b + n * p.b_pitch,
                                               p.b_pitch, p.k, p.acc + m * p.acc_pitch + n, p.acc_pitch);
    }
  }
}

}  // namespace
}  // namespace expertile::cpu
