#pragma once
// The products of a warpgroup on the host; on the device the library writes this header for each kernel.

#include <ptx90.hpp>
#include <type_traits>

#include "emulator/hopper.hpp"
#include "kernel_spec.hpp"

namespace expertile::ptx {

// Elements of one step: float16, bfloat16 and the widened int8: 16; tf32 and tf32x3's parts: 8; e4m3 and int8: 32.
template <Product PRODUCT>
using WideSum = std::conditional_t<PRODUCT == Product::int8, int, float>;

template <Product PRODUCT, int COLUMNS, bool ADDS, int HELD>
void wgmma(WideSum<PRODUCT> (&d)[HELD][4], unsigned long long x, unsigned long long y,
           const Where& where = Where::current()) {
  static_assert(COLUMNS % 8 == 0 && COLUMNS >= 8 && COLUMNS <= 256 && COLUMNS <= 8 * HELD);
  emulator::start_product({.product = PRODUCT, .columns = COLUMNS, .x = x, .y = y, .d = d, .accumulates = ADDS}, where);
}
template <Product PRODUCT, int COLUMNS, bool ADDS, int HELD>
void wgmma_from_registers(WideSum<PRODUCT> (&d)[HELD][4], const unsigned (&x)[4], unsigned long long y,
                          const Where& where = Where::current()) {
  static_assert(COLUMNS % 8 == 0 && COLUMNS >= 8 && COLUMNS <= 256 && COLUMNS <= 8 * HELD);
  emulator::start_product({.product = PRODUCT, .columns = COLUMNS, .registers = x, .y = y, .d = d, .accumulates = ADDS},
                          where);
}

}  // namespace expertile::ptx
