#include "plan/kernel_plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "kernel_shape.hpp"
#include "problem/groups.hpp"
#include "problem/presets.hpp"

namespace expertile {
namespace {

// What kernels multiply of an A that calls give as `given`.
ElementType multiplied_a(const Problem& problem, ElementType given) {
  const Preset& preset = preset_of(problem);
  return preset.quantised_a ? preset.quantised_a->element : given;
}

}  // namespace

Scaling scaling_of(Scales scales) noexcept {
  switch (scales) {
    case Scales::none:
      return Scaling::none;
    case Scales::per_tensor:
      return Scaling::per_tensor;
    case Scales::per_token_channel:
      return Scaling::per_token_channel;
    case Scales::per_channel:
      return Scaling::per_channel;
    case Scales::block:
      return Scaling::block;
  }
  return Scaling::none;
}

namespace {

Rows rows_of(RowLayout layout) {
  switch (layout) {
    case RowLayout::offsets:
      return Rows::offsets;
    case RowLayout::offsets_32:
      return Rows::offsets_32;
    case RowLayout::masked:
      return Rows::masked;
  }
  return Rows::offsets;
}

}  // namespace

std::optional<Storage> storage_of(ElementType type) noexcept {
  switch (type) {
    case ElementType::float16:
      return Storage::float16;
    case ElementType::bfloat16:
      return Storage::bfloat16;
    case ElementType::float32:
      return Storage::float32;
    case ElementType::float8_e4m3:
      return Storage::e4m3;
    case ElementType::int8:
      return Storage::int8;
    case ElementType::int4:
    case ElementType::uint4:
    case ElementType::float4_e2m1:
    case ElementType::float8_e8m0:
      break;
  }
  return std::nullopt;
}

std::optional<Product> product_of(ElementType a, ElementType b, bool tf32) noexcept {
  const auto only_with_itself = [&](Product product) { return a == b ? std::optional(product) : std::nullopt; };
  switch (b) {
    case ElementType::float16:
      return only_with_itself(Product::float16);
    case ElementType::bfloat16:
      return only_with_itself(Product::bfloat16);
    case ElementType::float32:
      return only_with_itself(tf32 ? Product::tf32 : Product::tf32x3);
    case ElementType::float8_e4m3:
      // The tensor cores' own e4m3 product keeps fewer bits of the sum than float32 has; float16 holds every e4m3
      // value.
      return only_with_itself(Product::e4m3);
    case ElementType::int8:
      if (a == ElementType::float16) return Product::int8_float16;
      if (a == ElementType::bfloat16) return Product::int8_bfloat16;
      return only_with_itself(Product::int8);
    case ElementType::int4:
    case ElementType::uint4:
    case ElementType::float4_e2m1:
    case ElementType::float8_e8m0:
      break;
  }
  return std::nullopt;
}

Status check_product(const Problem& problem) {
  const ElementType b = preset_of(problem).b.element;
  for (const CallTypes& types : call_types(problem)) {
    const ElementType a = multiplied_a(problem, types.a);
    if (product_of(a, b, problem.tf32) && storage_of(types.a) && storage_of(types.c)) continue;
    return fail(ErrorCode::unsupported,
                fmt::format("A is {} and B is {}, no GPU kernel multiplies the two", name(a), name(b)));
  }
  return {};
}

CallTypes types_of(const GroupedGemmArgs& args) noexcept { return {args.a.type, args.c.type, layout_of(args)}; }

KernelSpec make_spec(const Problem& problem, const TileConfig& tile, const CallTypes& types, bool wide_loads) noexcept {
  KernelSpec spec;
  spec.tile = tile;
  const Preset& preset = preset_of(problem);
  const ElementType a = multiplied_a(problem, types.a);
  spec.a = storage_of(a).value();
  spec.b = storage_of(preset.b.element).value();
  spec.c = storage_of(types.c).value();
  spec.scaling = scaling_of(scales_of(problem));
  spec.product = product_of(a, preset.b.element, problem.tf32).value();
  if (problem.block_shape) {
    constexpr std::int64_t kLongest = std::int64_t{1} << 30;  // longer than any N and K that a device's memory holds
    spec.block_n = static_cast<int>(std::min(problem.block_shape->n, kLongest));
    spec.block_k = static_cast<int>(std::min(problem.block_shape->k, kLongest));
    spec.scales_a = preset.quantised_a.value_or(preset.a).scales.has_value();
  }
  spec.wide_loads = wide_loads;
  spec.rows = rows_of(types.rows);
  return spec;
}

// Hopper's e4m3 products are added, 32 of K at a time, with 13 bits behind the point of the largest addend: what is cut
// off an addition is at most 2^-13 of the partial sum, which for addends of one sign grows evenly to the sum's
// magnitude. So n additions lose at most (n + 1) / 2 * 2^-13 of it, before the sum leaves for float32, after
// summed_elements.
double sum_error(const Problem& problem, const TileConfig& tile) noexcept {
  const KernelSpec spec = make_spec(problem, tile, usual_types(problem), true);
  if (tile.kernel != KernelFamily::sm90 || spec.product != Product::e4m3) return 0.0;
  const int additions = summed_elements(spec) / 32;
  return (additions + 1) / 2.0 * 0x1p-13;
}

bool allows_wide_loads(const Problem& problem, ElementType a) noexcept {
  const KernelSpec spec = make_spec(problem, {}, {.a = a, .c = output_type(problem.dtype)}, true);
  const auto wide = [](std::int64_t elements, Storage storage) { return elements * size_of(storage) % 16 == 0; };
  const bool rows = wide(problem.k, spec.a) && wide(problem.k, spec.b);
  return rows && (spec.block_k == 0 || (wide(spec.block_k, spec.a) && wide(spec.block_k, spec.b)));
}

bool has_wide_rows(const ConstMatrixView& matrix) noexcept {
  return reinterpret_cast<std::uintptr_t>(matrix.data) % 16 == 0 &&
         matrix.pitch * static_cast<std::int64_t>(size_of(matrix.type)) % 16 == 0;
}

KernelArgs make_kernel_args(const Problem& problem, const GroupedGemmArgs& args) noexcept {
  KernelArgs in;
  in.a = args.a.data;
  in.b = args.b.data;
  in.c = args.c.data;
  switch (layout_of(args)) {
    case RowLayout::offsets:
      in.seg_indptr = reinterpret_cast<const long long*>(args.seg_indptr.data());
      break;
    case RowLayout::offsets_32:
      in.seg_indptr_32 = args.seg_indptr_32.data();
      break;
    case RowLayout::masked:
      in.masked_m = args.masked_m.data();
      in.max_m = static_cast<int>(args.max_m);
      break;
  }
  const auto& experts = args.weight_indices;
  in.weight_indices = experts.empty() ? nullptr : reinterpret_cast<const long long*>(experts.data());
  in.scale_a = args.scale_a.data();
  in.scale_b = args.scale_b.data();
  in.a_pitch = args.a.pitch;
  in.b_pitch = args.b.pitch;
  in.c_pitch = args.c.pitch;
  in.groups = static_cast<int>(group_count(args));
  in.experts = static_cast<int>(problem.experts);
  in.rows = static_cast<int>(args.a.rows);
  in.n = static_cast<int>(problem.n);
  in.k = static_cast<int>(problem.k);
  in.wide_stores = has_wide_rows(args.c) ? 1 : 0;
  in.stores_boxes = can_store_boxes(storage_of(args.c.type).value(), in) ? 1 : 0;
  return in;
}

namespace {

// Where the scales begin in the workspace.
std::int64_t quantised_bytes(const Problem& problem, std::int64_t rows) {
  constexpr auto kAlignment = static_cast<std::int64_t>(kWorkspaceAlignment);
  return ceil_div(rows * problem.k, kAlignment) * kAlignment;
}

}  // namespace

std::size_t workspace_bytes(const Problem& problem, std::int64_t rows) noexcept {
  if (!quantises_a(problem)) return 0;
  const std::int64_t scales = rows * ceil_div(problem.k, problem.block_shape->k);
  return static_cast<std::size_t>(quantised_bytes(problem, rows) + 4 * scales);
}

Status check_workspace(const Problem& problem, const GroupedGemmArgs& args) {
  const std::size_t needed = workspace_bytes(problem, args.a.rows);
  const bool is_aligned = reinterpret_cast<std::uintptr_t>(args.workspace.data()) % kWorkspaceAlignment == 0;
  if (args.workspace.size() >= needed && is_aligned) return {};
  return fail(ErrorCode::invalid_argument,
              fmt::format("workspace has {} bytes at address {}, quantising {} rows of A needs {} bytes aligned to {}",
                          args.workspace.size(), static_cast<const void*>(args.workspace.data()), args.a.rows, needed,
                          kWorkspaceAlignment));
}

QuantiseArgs make_quantise_args(const Problem& problem, const GroupedGemmArgs& args) noexcept {
  QuantiseArgs in;
  in.a = args.a.data;
  in.out = reinterpret_cast<unsigned char*>(args.workspace.data());
  in.scales = reinterpret_cast<float*>(args.workspace.data() + quantised_bytes(problem, args.a.rows));
  in.a_pitch = args.a.pitch;
  in.rows = args.a.rows;
  in.k = static_cast<int>(problem.k);
  in.block_k = static_cast<int>(std::min(problem.block_shape->k, problem.k));
  in.masked_m = layout_of(args) == RowLayout::masked ? args.masked_m.data() : nullptr;
  in.groups = static_cast<int>(group_count(args));
  in.max_m = static_cast<int>(args.max_m);
  return in;
}

GroupedGemmArgs quantised_call(const Problem& problem, const GroupedGemmArgs& args) noexcept {
  const QuantiseArgs made = make_quantise_args(problem, args);
  GroupedGemmArgs call = args;
  call.a = {made.out, args.a.rows, problem.k, problem.k, multiplied_a(problem, args.a.type)};
  call.scale_a = {made.scales, static_cast<std::size_t>(made.rows * ceil_div(made.k, made.block_k))};
  return call;
}

}  // namespace expertile
