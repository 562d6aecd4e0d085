#include "emulator/run_emulated.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>

#include "emulator/emulator.hpp"
#include "emulator/tensor_map.hpp"
#include "kernel_shape.hpp"
#include "plan/kernel_plan.hpp"
#include "plan/launch_plan.hpp"
#include "problem/groups.hpp"
#include "problem/sizes.hpp"
#include "quantise.hpp"

namespace expertile::testing {
namespace {

constexpr int kMultiprocessors = 3;  // few, so that blocks that stay take many tiles

emulator::Region region(const char* name, const ConstMatrixView& m, bool is_output = false) {
  return {name, m.data, static_cast<std::size_t>(m.rows * m.pitch) * size_of(m.type), is_output};
}
template <class T>
emulator::Region region(const char* name, std::span<const T> values, bool is_output = false) {
  return {name, values.data(), values.size_bytes(), is_output};
}

ElementType type_of(Storage c) {
  if (c == Storage::float32) return ElementType::float32;
  return c == Storage::float16 ? ElementType::float16 : ElementType::bfloat16;
}

// A's rows quantised by the emulated kernel into the call's workspace.
Status quantise(const Problem& problem, const GroupedGemmArgs& args) {
  const QuantiseArgs in = make_quantise_args(problem, args);
  const emulator::Launch launch{.blocks = 2,
                                .threads = kQuantiseThreads,
                                .memory = {region("A", args.a),
                                           region("masked_m", args.masked_m),
                                           {"workspace", args.workspace.data(), args.workspace.size(), true}}};
  const auto quantise_all = [&in]<Storage A>() {
    if (in.masked_m != nullptr) return quantise_masked_rows<A>(in);
    quantise_rows<A>(in);
  };
  return emulator::run(launch, [&] {
    switch (args.a.type) {
      case ElementType::float16:
        return quantise_all.operator()<Storage::float16>();
      case ElementType::bfloat16:
        return quantise_all.operator()<Storage::bfloat16>();
      default:
        return quantise_all.operator()<Storage::float32>();
    }
  });
}

// Of the portable family's masked kernels few, so that they take many tiles, too.
int blocks_of(const LaunchPlan& plan, const GroupedGemmArgs& args) {
  const std::int64_t groups = group_count(args);
  const std::int64_t blocks = block_count(plan, args.a.rows, groups);
  if (plan.spec.tile.kernel == KernelFamily::sm90) {
    return static_cast<int>(staying_blocks(plan, blocks, kMultiprocessors));
  }
  if (plan.spec.rows != Rows::masked) return static_cast<int>(blocks);
  return static_cast<int>(repeating_blocks(plan, blocks, {args.expected_rows, groups, kMultiprocessors}));
}

RowLayout layout_of(Rows rows) {
  if (rows == Rows::offsets) return RowLayout::offsets;
  return rows == Rows::masked ? RowLayout::masked : RowLayout::offsets_32;
}

}  // namespace

Status multiply_emulated(const EmulatedKernel& kernel, const Problem& problem, const GroupedGemmArgs& args,
                         bool copies_round) {
  TiledArgs in{make_kernel_args(problem, args), nullptr, {}, {}, {}};
  const LaunchPlan plan = make_launch_plan(problem, kernel.spec);
  if (kernel.spec.tile.kernel == KernelFamily::sm90) {
    const bool rounds = copies_round && kernel.spec.product == Product::tf32;
    const auto map = [rounds](const ConstMatrixView& m, int box_rows) {
      const int bytes = static_cast<int>(size_of(m.type));
      const TensorMap one = emulator::make_tensor_map(m.data, m.rows, m.cols, m.pitch * bytes, bytes, box_rows);
      return m.type == ElementType::float32 && rounds ? emulator::rounding_to_tf32(one) : one;
    };
    in.a = map(args.a, plan.box_rows_a);
    in.b = map(args.b, plan.box_rows_b);
    if (in.args.stores_boxes != 0) in.c = map(args.c, kBoxRowsC);
  }
  int taken = 0;
  if (args.a.rows % 2 == 1) in.tile_counter = &taken;  // else clusters take their turns
  const emulator::Launch launch{
      .blocks = blocks_of(plan, args),
      .threads = plan.threads,
      .shared_bytes = plan.shared_bytes,
      .cluster_size = plan.cluster_blocks,
      .memory = {region("A", args.a),
                 region("B", args.b),
                 region("C", args.c, true),
                 region("seg_indptr", args.seg_indptr),
                 region("seg_indptr_32", args.seg_indptr_32),
                 region("masked_m", args.masked_m),
                 region("weight_indices", args.weight_indices),
                 region("scale_a", args.scale_a),
                 region("scale_b", args.scale_b),
                 {.name = "taken", .begin = &taken, .bytes = sizeof(taken), .is_counter = true}}};
  auto status = emulator::run(launch, [&] { kernel.run(in); });
  if (status && taken != 0) return fail(ErrorCode::internal, fmt::format("the counter of tiles was left at {}", taken));
  return status;
}

Status run_emulated(const EmulatedKernel& kernel, const Problem& problem, GroupedGemmArgs args) {
  struct alignas(kWorkspaceAlignment) Unit {
    std::byte bytes[kWorkspaceAlignment];
  };
  std::vector<Unit> workspace;
  if (quantises_a(problem)) {
    const std::size_t needed = workspace_bytes(problem, args.a.rows);
    workspace.resize((needed + sizeof(Unit) - 1) / sizeof(Unit));
    args.workspace = std::as_writable_bytes(std::span(workspace)).first(needed);
    std::ranges::fill(args.workspace, std::byte{0xff});  // rows that are not quantised are no numbers
    if (auto status = quantise(problem, args); !status) return status;
    args = quantised_call(problem, args);
  }
  return multiply_emulated(kernel, problem, args);
}

std::vector<EmulatedKernel> kernels_for(const Combination& combination, KernelFamily family, RowLayout rows) {
  std::vector<EmulatedKernel> found;
  for (const EmulatedKernel& kernel : all_emulated_kernels()) {
    if (kernel.spec.tile.kernel != family) continue;
    Problem problem{.dtype = combination.dtype, .scales = combination.scales, .tf32 = combination.tf32};
    if (kernel.spec.block_n > 0) problem.block_shape = BlockShape{kernel.spec.block_n, kernel.spec.block_k};
    if (problem.block_shape.has_value() != (combination.scales == Scales::block)) continue;
    const CallTypes types{combination.a, type_of(kernel.spec.c), rows};
    if (quantises_a(problem) && types.c != types.a) continue;
    const bool same = make_spec(problem, kernel.spec.tile, types, kernel.spec.wide_loads) == kernel.spec;
    const auto known = [&](const EmulatedKernel& other) { return other.spec == kernel.spec; };
    if (same && std::none_of(found.begin(), found.end(), known)) found.push_back(kernel);
  }
  return found;
}

RandomProblem random_problem(const Combination& combination, const KernelSpec& spec, std::uint64_t seed,
                             bool is_large) {
  Wishes wishes{
      .is_aligned = spec.wide_loads, .is_large = is_large, .c_type = type_of(spec.c), .rows = layout_of(spec.rows)};
  if (spec.block_n > 0) wishes.block_shape = BlockShape{spec.block_n, spec.block_k};
  return RandomProblem(combination, seed, wishes);
}

}  // namespace expertile::testing
