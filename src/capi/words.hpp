#pragma once
// The numbers of expertile.h and the library's own types. An Error names the field and what it could be.

#include <expertile/expertile.h>

#include <optional>
#include <string_view>

#include "capi/status.hpp"
#include "expertile/grouped_gemm.hpp"
#include "expertile/problem.hpp"

namespace expertile::capi {

[[nodiscard]] Result<DType> dtype_of(std::int32_t number);
// None for EXPERTILE_SCALES_USUAL.
[[nodiscard]] Result<std::optional<Scales>> scales_of(std::int32_t number);
// field, part: what is read, "a" and ".element". EXPERTILE_ELEMENT_NONE is an error.
[[nodiscard]] Result<ElementType> element_of(std::int32_t number, std::string_view field, std::string_view part = {});
// Of options.row_layout.
[[nodiscard]] Result<RowLayout> row_layout_of(std::int32_t number);
[[nodiscard]] std::int32_t number_of(DType dtype) noexcept;
[[nodiscard]] std::int32_t number_of(Scales scales) noexcept;
[[nodiscard]] std::int32_t number_of(ElementType element) noexcept;

// Rows that somebody asks about: so many that a problem's tensors could have them.
[[nodiscard]] Status check_rows(const Problem& problem, std::int64_t rows);

[[nodiscard]] Result<Problem> problem_of(const expertile_problem_desc& desc);
// Fills the caller's struct, with nothing left to defaults.
[[nodiscard]] Status tell(const Problem& problem, expertile_problem_desc* desc);

}  // namespace expertile::capi
