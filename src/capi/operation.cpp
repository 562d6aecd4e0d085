// Operations: prepared, asked, and called.

#include <filesystem>

#include "capi/matrices.hpp"
#include "capi/objects.hpp"
#include "capi/structs.hpp"
#include "capi/words.hpp"
#include "plan/tile_schema.hpp"
#include "problem/sizes.hpp"

namespace expertile::capi {

Result<PrepareOptions> options_of(const expertile_prepare_options* given) {
  PrepareOptions options;
  if (given == nullptr) return options;
  if (auto status = check_struct(given, "options", "expertile_prepare_options"); !status) return fail(status.error());
  if (given->reserved != 0) return invalid(fmt::format("options.reserved is {}, it must be 0", given->reserved));
  if (given->reserved_2 != 0) return invalid(fmt::format("options.reserved_2 is {}, it must be 0", given->reserved_2));
  const auto row_layout = row_layout_of(given->row_layout);
  if (!row_layout) return fail(row_layout.error());
  options.row_layout = *row_layout;
  if (given->device != nullptr) {
    const auto device = find(given->device);
    if (!device) return fail(device.error());
    options.device = (*device)->asked_for;
    options.threads = (*device)->threads;
  }
  if (given->config_dir != nullptr) options.config_dir = given->config_dir;
  if (given->c_element == EXPERTILE_ELEMENT_NONE) return options;
  const auto c_type = element_of(given->c_element, "options", ".c_element");
  if (!c_type) return fail(c_type.error());
  options.c_type = *c_type;
  return options;
}

// The arrays that tell the groups. Which of them goes with which is the product's to say; one that must be there and is
// NULL is named here.
Status read_groups(const expertile_grouped_gemm_args& given, GroupedGemmArgs& args) {
  if (given.groups < 0 || given.groups > kLargestSize) {
    return invalid(fmt::format("groups is {}, it must be from 0 to {}", given.groups, kLargestSize));
  }
  const bool is_masked = given.masked_m != nullptr;
  const auto count_of = [&](const void* data, std::int64_t count, bool is_needed) {
    return data != nullptr || is_needed ? count : 0;
  };
  const auto experts = span_of(given.weight_indices, count_of(given.weight_indices, given.groups, !is_masked),
                               "weight_indices", "groups");
  if (!experts) return fail(experts.error());
  const bool needs_segments = !is_masked && given.seg_indptr_32 == nullptr;
  const auto segments = span_of(given.seg_indptr, count_of(given.seg_indptr, given.groups + 1, needs_segments),
                                "seg_indptr", "groups + 1");
  if (!segments) return fail(segments.error());
  const auto segments_32 = span_of(given.seg_indptr_32, count_of(given.seg_indptr_32, given.groups + 1, false),
                                   "seg_indptr_32", "groups + 1");
  if (!segments_32) return fail(segments_32.error());
  const auto masked_m = span_of(given.masked_m, count_of(given.masked_m, given.groups, false), "masked_m", "groups");
  if (!masked_m) return fail(masked_m.error());
  args.weight_indices = *experts;
  args.seg_indptr = *segments;
  args.seg_indptr_32 = *segments_32;
  args.masked_m = *masked_m;
  args.max_m = given.max_m;
  args.expected_rows = given.expected_rows;
  return {};
}

namespace {

Result<GroupedGemmArgs> args_of(const expertile_grouped_gemm_args* given) {
  if (auto status = check_struct(given, "args", "expertile_grouped_gemm_args"); !status) return fail(status.error());
  GroupedGemmArgs args{.stream = given->stream};
  const auto a = view_of<ConstMatrixView>(given->a, "a");
  if (!a) return fail(a.error());
  const auto b = view_of<ConstMatrixView>(given->b, "b");
  if (!b) return fail(b.error());
  const auto c = view_of<MatrixView>(given->c, "c");
  if (!c) return fail(c.error());
  if (auto status = read_groups(*given, args); !status) return fail(status.error());
  const auto scale_a = span_of(given->scale_a, given->scale_a_count, "scale_a", "scale_a_count");
  if (!scale_a) return fail(scale_a.error());
  const auto scale_b = span_of(given->scale_b, given->scale_b_count, "scale_b", "scale_b_count");
  if (!scale_b) return fail(scale_b.error());
  args.a = *a;
  args.b = *b;
  args.c = *c;
  args.scale_a = *scale_a;
  args.scale_b = *scale_b;
  if (given->workspace == nullptr && given->workspace_bytes > 0) {
    return invalid(fmt::format("workspace is null, by workspace_bytes it must hold {}", given->workspace_bytes));
  }
  args.workspace = {static_cast<std::byte*>(given->workspace), given->workspace_bytes};
  return args;
}

// What a selection's strings point to, until the thread asks again.
struct SelectionText {
  std::string file;
  std::string wanted;
  std::string differs;
  std::string tile;
};

expertile_selection selection_of(const GroupedGemm& gemm, std::int64_t rows) {
  thread_local SelectionText text;
  const Selection found = gemm.selection(rows);
  text = {found.file.string(), gemm.wanted_file().string(), found.differs, describe(found.tile)};
  return {.size = sizeof(expertile_selection),
          .match = static_cast<std::int32_t>(found.match),
          .reserved = 0,
          .batch = found.batch,
          .file = text.file.c_str(),
          .wanted_file = text.wanted.c_str(),
          .differs = text.differs.c_str(),
          .tile = text.tile.c_str()};
}
static_assert(static_cast<int>(Match::built_in) == EXPERTILE_MATCH_BUILT_IN, "Match and expertile_match go together");

}  // namespace
}  // namespace expertile::capi

extern "C" {

const char* expertile_match_name(expertile_match match) {
  if (match < EXPERTILE_MATCH_EXACT || match > EXPERTILE_MATCH_BUILT_IN) return "?";
  return name(static_cast<expertile::Match>(match)).data();  // of literals, which end with a zero
}

const char* expertile_row_layout_name(expertile_row_layout layout) {
  if (layout < EXPERTILE_ROWS_OFFSETS || layout > EXPERTILE_ROWS_MASKED) return "?";
  return name(static_cast<expertile::RowLayout>(layout)).data();  // of literals, which end with a zero
}

expertile_status expertile_prepare(const expertile_problem* problem, const expertile_prepare_options* options,
                                   expertile_operation** out) {
  using namespace expertile;
  return capi::add_handle(capi::operations(), out, [&]() -> Result<GroupedGemm> {
    const auto found = capi::find(problem);
    if (!found) return fail(found.error());
    const auto read = capi::options_of(options);
    if (!read) return fail(read.error());
    return GroupedGemm::prepare(**found, *read);
  });
}

expertile_status expertile_run(const expertile_operation* operation, const expertile_grouped_gemm_args* args) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    const auto gemm = capi::find(operation);
    if (!gemm) return fail(gemm.error());
    const auto read = capi::args_of(args);
    if (!read) return fail(read.error());
    return (**gemm)(*read);
  });
}

expertile_status expertile_validate(const expertile_problem* problem, const expertile_grouped_gemm_args* args) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    const auto found = capi::find(problem);
    if (!found) return fail(found.error());
    const auto read = capi::args_of(args);
    if (!read) return fail(read.error());
    return validate(**found, *read);
  });
}

expertile_status expertile_operation_workspace_bytes(const expertile_operation* operation, int64_t rows,
                                                     size_t* bytes) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    const auto gemm = capi::find(operation);
    if (!gemm) return fail(gemm.error());
    if (bytes == nullptr) return capi::invalid("bytes is null, it must point to a size_t");
    if (auto status = capi::check_rows((*gemm)->problem(), rows); !status) return status;
    *bytes = (*gemm)->workspace_bytes(rows);
    return {};
  });
}

expertile_status expertile_operation_describe(const expertile_operation* operation, expertile_problem_desc* desc) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    const auto gemm = capi::find(operation);
    if (!gemm) return fail(gemm.error());
    return capi::tell((*gemm)->problem(), desc);
  });
}

expertile_status expertile_operation_select(const expertile_operation* operation, int64_t rows,
                                            expertile_selection* selection) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    const auto gemm = capi::find(operation);
    if (!gemm) return fail(gemm.error());
    if (auto status = capi::check_struct(selection, "selection", "expertile_selection"); !status) return status;
    if (auto status = capi::check_rows((*gemm)->problem(), rows); !status) return status;
    capi::fill_struct(capi::selection_of(**gemm, rows), selection);
    return {};
  });
}

}  // extern "C"
