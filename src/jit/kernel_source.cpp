#include "jit/kernel_source.hpp"

#include <fmt/format.h>

#include <utility>

#include "files/files.hpp"
#include "jit/device_text.hpp"
#include "jit/wgmma_text.hpp"
#include "kernel_shape.hpp"
#include "plan/tile_schema.hpp"

namespace expertile::jit {
namespace {

constexpr const char* kEveryLaneArrives = "EXPERTILE_EVERY_LANE_ARRIVES";

// By name, in any order, which designated initialisers do not allow.
std::string spelled(const TileConfig& tile) {
  std::string text =
      fmt::format("[] {{ TileConfig tile; tile.kernel = static_cast<KernelFamily>({});", static_cast<int>(tile.kernel));
  for (const TileField& field : kTileFields) {
    if (field.belongs_to(tile.kernel)) text += fmt::format(" tile.{} = {};", field.member_name(), tile.*field.member);
  }
  return text + " return tile; }()";
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
  const std::string rows = spec.rows == Rows::offsets
                               ? ""
                               : fmt::format(",\n    .rows = static_cast<Rows>({})", static_cast<int>(spec.rows));
  const std::string text = fmt::format(
      R"(#include "{}/grouped_gemm.hpp"
namespace expertile {{
constexpr KernelSpec kSpec = {{
    .tile = {},
    .a = static_cast<Storage>({}),
    .b = static_cast<Storage>({}),
    .c = static_cast<Storage>({}),
    .scaling = static_cast<Scaling>({}),
    .product = static_cast<Product>({}),
    .block_n = {},
    .block_k = {},
    .scales_a = {},
    .wide_loads = {}{}}};
}}
// At least one block a multiprocessor: without it the compiler would rather spill than use more registers.
extern "C" __global__ void __launch_bounds__({}, 1){} {}(const __grid_constant__ expertile::{} args) {{
  expertile::{}::grouped_gemm<expertile::kSpec>(args);
}}
)",
      family.name, spelled(spec.tile), static_cast<int>(spec.a), static_cast<int>(spec.b), static_cast<int>(spec.c),
      static_cast<int>(spec.scaling), static_cast<int>(spec.product), spec.block_n, spec.block_k, spec.scales_a,
      spec.wide_loads, rows, threads_of(spec), clusters, kKernelName, family.arguments, family.name);
  Source source{"grouped_gemm.cu", text, device_headers()};
  if (spec.tile.kernel == KernelFamily::sm90) source.headers.emplace_back("wgmma.hpp", wgmma_text(spec));
  return source;
}

Source quantise_source(Storage a, bool is_masked) {
  const std::string text = fmt::format(
      R"(#include "quantise.hpp"
extern "C" __global__ void __launch_bounds__({}) {}(const __grid_constant__ expertile::QuantiseArgs args) {{
  expertile::{}<static_cast<expertile::Storage>({})>(args);
}}
)",
      kQuantiseThreads, kQuantiseName, is_masked ? "quantise_masked_rows" : "quantise_rows", static_cast<int>(a));
  return {"quantise.cu", text, device_headers()};
}

CompileRequest kernel_request(Source source, std::string arch) {
  std::vector<std::string> flags{"--device-as-default-execution-space"};
  // As scripts/sanitize_gpu.sh wants it (kernels/ptx90.hpp).
  if (!environment(kEveryLaneArrives).empty()) flags.push_back(fmt::format("-D{}", kEveryLaneArrives));
  return {std::move(source), std::move(arch), std::move(flags)};
}

}  // namespace expertile::jit
