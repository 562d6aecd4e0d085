#include "jit/kernel_source.hpp"

#include <fmt/format.h>

#include <utility>

#include "jit/device_text.hpp"
#include "jit/wgmma_text.hpp"
#include "kernel_figures.hpp"

namespace expertile::jit {
namespace {

std::string spelled(const TileConfig& tile) {
  return fmt::format(
      "{{.block_size_m = {}, .block_size_n = {}, .block_size_k = {}, .group_size_m = {}, .num_warps = {}, "
      ".num_stages = {}, .split_k = {}, .swap_ab = {}, .kernel = static_cast<KernelFamily>({}), .pingpong = {}, "
      ".cluster_size = {}, .cluster_m = {}}}",
      tile.block_size_m, tile.block_size_n, tile.block_size_k, tile.group_size_m, tile.num_warps, tile.num_stages,
      tile.split_k, tile.swap_ab, static_cast<int>(tile.kernel), tile.pingpong, tile.cluster_size, tile.cluster_m);
}

// Where a family's kernel is, and what it takes.
struct Family {
  const char* name;
  const char* arguments;
};
Family family_of(KernelFamily kernel) {
  if (kernel == KernelFamily::sm90) return {"sm90", "TiledArgs"};
  return {"sm80", "KernelArgs"};
}

}  // namespace

Source kernel_source(const KernelSpec& spec) {
  const Family family = family_of(spec.tile.kernel);
  const int blocks = cluster_blocks(spec.tile);
  const std::string clusters = blocks > 1 ? fmt::format(" __cluster_dims__({}, 1, 1)", blocks) : "";
  const std::string text = fmt::format(
      R"(#include "{}/grouped_gemm.hpp"
namespace expertile {{
constexpr KernelSpec kSpec = {{
    .tile = {},
    .a = static_cast<Storage>({}),
    .b = static_cast<Storage>({}),
    .c = {{.float16 = {}, .bfloat16 = {}, .float32 = {}}},
    .scaling = static_cast<Scaling>({}),
    .product = static_cast<Product>({}),
    .block_n = {},
    .block_k = {},
    .scales_a = {},
    .wide_loads = {},
    .every_lane_arrives = {}}};
}}
// At least one block a multiprocessor: without it the compiler would rather spill than use more registers.
extern "C" __global__ void __launch_bounds__({}, 1){} {}(const __grid_constant__ expertile::{} args) {{
  expertile::{}::grouped_gemm<expertile::kSpec>(args);
}}
)",
      family.name, spelled(spec.tile), static_cast<int>(spec.a), static_cast<int>(spec.b), spec.c.float16,
      spec.c.bfloat16, spec.c.float32, static_cast<int>(spec.scaling), static_cast<int>(spec.product), spec.block_n,
      spec.block_k, spec.scales_a, spec.wide_loads, spec.every_lane_arrives, threads_of(spec), clusters, kKernelName,
      family.arguments, family.name);
  Source source{"grouped_gemm.cu", text, device_headers()};
  if (spec.tile.kernel == KernelFamily::sm90) source.headers.emplace_back("wgmma.hpp", wgmma_text(spec));
  return source;
}

Source quantise_source(Storage a) {
  const std::string text = fmt::format(
      R"(#include "quantise.hpp"
extern "C" __global__ void __launch_bounds__({}) {}(const __grid_constant__ expertile::QuantiseArgs args) {{
  expertile::quantise_rows<static_cast<expertile::Storage>({})>(args);
}}
)",
      kQuantiseThreads, kQuantiseName, static_cast<int>(a));
  return {"quantise.cu", text, device_headers()};
}

CompileRequest kernel_request(Source source, std::string arch) {
  return {std::move(source), std::move(arch), {"--device-as-default-execution-space"}};
}

}  // namespace expertile::jit
