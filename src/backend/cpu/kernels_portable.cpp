// Plain C++ for any processor; the compiler vectorises the short loops with whatever its baseline has.

#include "backend/cpu/convert_scalar.hpp"
#include "backend/cpu/microkernel.hpp"

namespace expertile::cpu {
namespace {

template <class Source, class Sum>
struct Lanes {
  using Element = Source;
  static constexpr int kLanes = 8;
  static constexpr int kBlockM = 2;
  static constexpr int kBlockN = 2;
  struct Vector {
    Sum lane[kLanes];
  };
  struct Operand {
    const Source* lane;
  };
  static Vector zero() { return {}; }
  static Operand load(const Element* from) { return {from}; }
  static Vector multiply_add(Operand a, Operand b, Vector c) {
    for (int i = 0; i < kLanes; ++i) c.lane[i] += static_cast<Sum>(a.lane[i]) * static_cast<Sum>(b.lane[i]);
    return c;
  }
  static double sum(const Vector& v) {
    Sum total = 0;
    for (int i = 0; i < kLanes; ++i) total += v.lane[i];
    return static_cast<double>(total);
  }
};

}  // namespace

const KernelSet* portable_kernels() {
  static constexpr KernelSet set = [] {
    KernelSet s;
    s.float_from_float16 = scalar_to_float<Float16>;
    s.float_from_bfloat16 = scalar_to_float<BFloat16>;
    s.float_from_float32 = scalar_to_float<Float32>;
    s.float_from_e4m3 = scalar_to_float<Float8E4M3>;
    s.float_from_int8 = scalar_to_float<Int8>;
    s.bfloat16_from_e4m3 = scalar_to_bfloat16<Float8E4M3>;
    s.bfloat16_from_int8 = scalar_to_bfloat16<Int8>;
    s.int16_from_int8 = scalar_int16_from_int8;
    s.float16_from_float = scalar_float16_from_float;
    s.multiply_float32 = multiply_panels<Lanes<float, float>>;
    s.multiply_int16 = multiply_panels<Lanes<std::int16_t, std::int32_t>>;
    return s;
  }();
  return &set;
}

}  // namespace expertile::cpu
