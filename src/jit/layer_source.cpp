// The kernels of a layer's steps as source text.

#include <fmt/format.h>

#include "jit/device_text.hpp"
#include "jit/kernel_source.hpp"

namespace expertile::jit {
namespace {

// One page: a header of kernels/layer/, a constant, and a kernel that calls a function with its arguments.
Source step_source(const char* header, const std::string& constant, int threads, const char* arguments,
                   const char* call) {
  const std::string text = fmt::format(
      R"(#include "layer/{}.hpp"
namespace expertile {{
{}
}}
extern "C" __global__ void __launch_bounds__({}) {}(const __grid_constant__ expertile::{} args) {{
  expertile::{}(args);
}}
)",
      header, constant, threads, kStepName, arguments, call);
  return {"layer_step.cu", text, device_headers()};
}

}  // namespace

Source route_source() { return step_source("route", "", 32 * kMostRouteWarps, "RouteArgs", "route"); }

Source rows_source(const RowsSpec& spec) {
  const std::string constant = fmt::format(
      R"(constexpr RowsSpec kSpec = {{
    .of = static_cast<RowsOf>({}),
    .from = static_cast<Storage>({}),
    .out = static_cast<Storage>({}),
    .scaling = static_cast<Scaling>({}),
    .activation = static_cast<Activation>({}),
    .order = static_cast<GateOrder>({})}};)",
      static_cast<int>(spec.of), static_cast<int>(spec.from), static_cast<int>(spec.out),
      static_cast<int>(spec.scaling), static_cast<int>(spec.activation), static_cast<int>(spec.order));
  return step_source("rows", constant, kRowsThreads, "RowsArgs", "make_rows<expertile::kSpec>");
}

Source sum_source(const SumSpec& spec) {
  const std::string constant =
      fmt::format("constexpr SumSpec kSpec = {{.type = static_cast<Storage>({}), .top_k = {}}};",
                  static_cast<int>(spec.type), spec.top_k);
  return step_source("weighted_sum", constant, kSumThreads, "SumArgs", "weighted_sum<expertile::kSpec>");
}

}  // namespace expertile::jit
