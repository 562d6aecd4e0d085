#pragma once
// Many kernels at once, each from the cache where it is there.

#include <vector>

#include "jit/cubin_cache.hpp"

namespace expertile::jit {

// In the requests' order; of equal ones the first is compiled for all. nvrtc: null on a host without it, which runs
// from cached cubins only. The first cache keeps what is compiled; cubins of the others may come from any NVRTC.
[[nodiscard]] std::vector<Result<Cubin>> compile_all(const Nvrtc* nvrtc, const std::vector<CubinCache>& caches,
                                                     const std::vector<CompileRequest>& requests, int threads);

}  // namespace expertile::jit
