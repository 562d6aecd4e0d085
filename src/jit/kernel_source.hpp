#pragma once
// A kernel's specification as source text: the device text of kernels/, embedded, and one page that names its
// constants.

#include "jit/nvrtc.hpp"
#include "kernel_spec.hpp"
#include "layer/layer_spec.hpp"

namespace expertile::jit {

inline constexpr const char* kKernelName = "expertile_grouped_gemm";
inline constexpr const char* kQuantiseName = "expertile_quantise";

[[nodiscard]] Source kernel_source(const KernelSpec& spec);
// A's rows to e4m3; a: float16, bfloat16 or float32. is_masked: those that masked_m counts alone.
[[nodiscard]] Source quantise_source(Storage a, bool is_masked = false);
// The layer's own kernels: one that sorts slots, one that makes rows of A, and one that adds a token's.
inline constexpr const char* kStepName = "expertile_layer_step";
[[nodiscard]] Source route_source();
[[nodiscard]] Source rows_source(const RowsSpec& spec);
[[nodiscard]] Source sum_source(const SumSpec& spec);
// How such a source is compiled. arch: "sm_90a".
[[nodiscard]] CompileRequest kernel_request(Source source, std::string arch);

}  // namespace expertile::jit
