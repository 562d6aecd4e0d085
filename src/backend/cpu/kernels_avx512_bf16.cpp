// AVX-512 with BF16 and VNNI (Cooper Lake, Sapphire Rapids, Zen 4 and later).

#include "backend/cpu/kernels.hpp"

#if defined(__x86_64__)
#include "backend/cpu/avx512.hpp"

namespace expertile::cpu {
const KernelSet* avx512_bf16_kernels() {
  if (!(machine_has_avx512() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni")))
    return nullptr;
  static constexpr KernelSet set = avx512_set();
  return &set;
}
}  // namespace expertile::cpu
#else
namespace expertile::cpu {
const KernelSet* avx512_bf16_kernels() { return nullptr; }
}  // namespace expertile::cpu
#endif
