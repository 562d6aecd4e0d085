// AVX-512 without BF16 and VNNI (Skylake-X).

#include "backend/cpu/kernels.hpp"

#if defined(__x86_64__)
#include "backend/cpu/avx512.hpp"

namespace expertile::cpu {
const KernelSet* avx512_kernels() {
  if (!(machine_has_avx512())) return nullptr;
  static constexpr KernelSet set = avx512_set();
  return &set;
}
}  // namespace expertile::cpu
#else
namespace expertile::cpu {
const KernelSet* avx512_kernels() { return nullptr; }
}  // namespace expertile::cpu
#endif
