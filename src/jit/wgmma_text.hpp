#pragma once
// The header <wgmma.hpp> of a kernel: the product of a warpgroup takes as many registers as its tile is wide, each
// named in the instruction's text, so the text is written for each kernel.

#include <string>

#include "kernel_spec.hpp"

namespace expertile::jit {

// Defines expertile::ptx::wgmma<PRODUCT, COLUMNS> and wgmma_from_registers<PRODUCT, COLUMNS> (kernels/ptx90.hpp says
// what they do) for the product of `spec`, which is one of the sm90 family, and the widths that its tile is cut to.
[[nodiscard]] std::string wgmma_text(const KernelSpec& spec);

}  // namespace expertile::jit
