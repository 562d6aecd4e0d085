#include "problem/groups.hpp"

namespace expertile {

std::string_view name(RowLayout layout) noexcept {
  switch (layout) {
    case RowLayout::offsets_32:
      return "offsets_32";
    case RowLayout::masked:
      return "masked";
    case RowLayout::offsets:
      break;
  }
  return "offsets";
}

RowLayout layout_of(const GroupedGemmArgs& args) noexcept {
  if (!args.masked_m.empty()) return RowLayout::masked;
  return args.seg_indptr_32.empty() ? RowLayout::offsets : RowLayout::offsets_32;
}

std::int64_t group_count(const GroupedGemmArgs& args) noexcept {
  const bool is_masked = layout_of(args) == RowLayout::masked;
  return static_cast<std::int64_t>(is_masked ? args.masked_m.size() : args.weight_indices.size());
}

HostGroup group_of(const GroupedGemmArgs& args, std::int64_t group) noexcept {
  const auto g = static_cast<std::size_t>(group);
  const std::int64_t expert = args.weight_indices.empty() ? group : args.weight_indices[g];
  switch (layout_of(args)) {
    case RowLayout::offsets_32:
      return {args.seg_indptr_32[g], args.seg_indptr_32[g + 1], expert};
    case RowLayout::masked:
      return {group * args.max_m, group * args.max_m + args.masked_m[g], expert};
    case RowLayout::offsets:
      break;
  }
  return {args.seg_indptr[g], args.seg_indptr[g + 1], expert};
}

std::int64_t rows_of_groups(const GroupedGemmArgs& args) noexcept {
  std::int64_t rows = 0;
  for (std::int64_t g = 0; g < group_count(args); ++g) {
    const HostGroup group = group_of(args, g);
    rows += group.end - group.begin;
  }
  return rows;
}

}  // namespace expertile
