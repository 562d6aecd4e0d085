#include "capi/words.hpp"

#include <array>

#include "capi/structs.hpp"
#include "problem/sizes.hpp"

namespace expertile::capi {
namespace {

constexpr std::array kDTypes = {DType::float16,  DType::bfloat16,   DType::float32,
                                DType::fp8_w8a8, DType::int8_w8a16, DType::int8_w8a8};
constexpr std::array kScales = {Scales::none, Scales::per_tensor, Scales::per_token_channel, Scales::per_channel,
                                Scales::block};
// Those that kernels multiply; EXPERTILE_FLOAT16 is 1.
constexpr std::array kElements = {ElementType::float16, ElementType::bfloat16, ElementType::float32,
                                  ElementType::float8_e4m3, ElementType::int8};
constexpr std::array kRowLayouts = {RowLayout::offsets, RowLayout::offsets_32, RowLayout::masked};
static_assert(kRowLayouts[EXPERTILE_ROWS_MASKED] == RowLayout::masked);
static_assert(kDTypes[EXPERTILE_DTYPE_INT8_W8A8] == DType::int8_w8a8);
static_assert(kScales[EXPERTILE_SCALES_BLOCK - 1] == Scales::block);
static_assert(kElements[EXPERTILE_INT8 - 1] == ElementType::int8);

// Where a value stands in a list.
template <class List, class Value>
std::int32_t place_of(const List& list, Value value) noexcept {
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i] == value) return static_cast<std::int32_t>(i);
  }
  return -1;
}

// The value at a place; `number` is what the message names, and what it ought to name.
template <class List>
Result<typename List::value_type> at_place(const List& list, std::int64_t place, std::string_view field,
                                           std::string_view part, std::int32_t number, std::string_view what) {
  if (place >= 0 && place < static_cast<std::int64_t>(list.size())) return list[static_cast<std::size_t>(place)];
  const std::int64_t first = std::int64_t{number} - place;  // of the list
  std::string choices;
  for (std::size_t i = 0; i < list.size(); ++i) {
    choices += fmt::format("{}{} ({})", i == 0 ? "" : ", ", first + static_cast<std::int64_t>(i), name(list[i]));
  }
  return invalid(fmt::format("{}{} is {}, which names no {}; choose one of {}", field, part, number, what, choices));
}

// Of a struct that has one of the two.
Status check_block(const expertile_problem_desc& desc) {
  for (const std::int64_t side : {desc.block_n, desc.block_k}) {
    if (side >= 1 && side <= kLargestSize) continue;
    return invalid(fmt::format("block_n is {} and block_k is {}, both must be from 1 to {}, or 0 for no blocks",
                               desc.block_n, desc.block_k, kLargestSize));
  }
  return {};
}

// The name of a value of C, for ever.
template <class List>
const char* name_at(const List& list, std::int64_t place) noexcept {
  if (place < 0 || place >= static_cast<std::int64_t>(list.size())) return "?";
  return name(list[static_cast<std::size_t>(place)]).data();  // of literals, which end with a zero
}

}  // namespace

Result<DType> dtype_of(std::int32_t number) { return at_place(kDTypes, number, "desc", ".dtype", number, "dtype"); }

Result<std::optional<Scales>> scales_of(std::int32_t number) {
  if (number == EXPERTILE_SCALES_USUAL) return std::nullopt;
  return at_place(kScales, std::int64_t{number} - 1, "desc", ".scales", number, "scales");
}

Result<ElementType> element_of(std::int32_t number, std::string_view field, std::string_view part) {
  return at_place(kElements, std::int64_t{number} - 1, field, part, number, "element");
}

Result<RowLayout> row_layout_of(std::int32_t number) {
  return at_place(kRowLayouts, number, "options", ".row_layout", number, "row layout");
}

std::int32_t number_of(DType dtype) noexcept { return place_of(kDTypes, dtype); }
std::int32_t number_of(Scales scales) noexcept { return place_of(kScales, scales) + 1; }
std::int32_t number_of(ElementType element) noexcept { return place_of(kElements, element) + 1; }

Status check_rows(const Problem& problem, std::int64_t rows) {
  if (rows < 0 || rows > kLargestSize) {
    return invalid(fmt::format("rows is {}, it must be from 0 to {}", rows, kLargestSize));
  }
  const std::int64_t longest = std::max(problem.n, problem.k);
  std::int64_t bytes = 0;  // of a row: at most 4 an element, and 4 of a scale
  if (!__builtin_mul_overflow(rows, longest, &bytes) && !__builtin_mul_overflow(bytes, std::int64_t{8}, &bytes)) {
    return {};
  }
  return invalid(fmt::format("rows is {}: so many of {} elements do not fit an address space", rows, longest));
}

Result<Problem> problem_of(const expertile_problem_desc& desc) {
  Problem problem{.experts = desc.experts, .n = desc.n, .k = desc.k};
  const auto dtype = dtype_of(desc.dtype);
  if (!dtype) return fail(dtype.error());
  problem.dtype = *dtype;
  const auto scales = scales_of(desc.scales);
  if (!scales) return fail(scales.error());
  problem.scales = *scales;
  if (desc.block_n != 0 || desc.block_k != 0) {
    if (auto status = check_block(desc); !status) return fail(status.error());
    problem.block_shape = BlockShape{desc.block_n, desc.block_k};
  }
  if (desc.top_k != 0) problem.top_k = desc.top_k;
  problem.hidden_size = desc.hidden_size;
  if (desc.tf32 != 0 && desc.tf32 != 1) return invalid(fmt::format("desc.tf32 is {}, it must be 0 or 1", desc.tf32));
  problem.tf32 = desc.tf32 == 1;
  if (desc.reserved != 0) return invalid(fmt::format("desc.reserved is {}, it must be 0", desc.reserved));
  if (auto status = validate(problem); !status) return fail(status.error());
  return problem;
}

Status tell(const Problem& problem, expertile_problem_desc* desc) {
  if (auto status = check_struct(desc, "desc", "expertile_problem_desc"); !status) return status;
  const expertile_problem_desc told{.size = sizeof(expertile_problem_desc),
                                    .experts = problem.experts,
                                    .n = problem.n,
                                    .k = problem.k,
                                    .dtype = number_of(problem.dtype),
                                    .scales = number_of(expertile::scales_of(problem)),
                                    .block_n = problem.block_shape ? problem.block_shape->n : 0,
                                    .block_k = problem.block_shape ? problem.block_shape->k : 0,
                                    .top_k = problem.top_k,
                                    .hidden_size = hidden_size_of(problem),
                                    .tf32 = problem.tf32 ? 1 : 0,
                                    .reserved = 0};
  fill_struct(told, desc);
  return {};
}

}  // namespace expertile::capi

extern "C" {

const char* expertile_dtype_name(expertile_dtype dtype) {
  return expertile::capi::name_at(expertile::capi::kDTypes, static_cast<std::int64_t>(dtype));
}

const char* expertile_scales_name(expertile_scales scales) {
  if (scales == EXPERTILE_SCALES_USUAL) return "usual";
  return expertile::capi::name_at(expertile::capi::kScales, static_cast<std::int64_t>(scales) - 1);
}

const char* expertile_element_name(expertile_element element) {
  return expertile::capi::name_at(expertile::capi::kElements, static_cast<std::int64_t>(element) - 1);
}

expertile_status expertile_parse_dtype(const char* name, expertile_dtype* dtype) {
  using namespace expertile;
  return capi::guarded([&]() -> Status {
    if (name == nullptr) return capi::invalid("name is null, it must be one of " + dtype_choices());
    if (dtype == nullptr) return capi::invalid("dtype is null, it must point to an expertile_dtype");
    const auto parsed = parse_dtype(name);
    if (!parsed) return fail(parsed.error());
    *dtype = static_cast<expertile_dtype>(capi::number_of(*parsed));
    return {};
  });
}

}  // extern "C"
