#pragma once
// Matrices of expertile.h as the library's views.

#include "capi/words.hpp"
#include "expertile/grouped_gemm.hpp"

namespace expertile::capi {

// View: ConstMatrixView or MatrixView; Matrix: expertile_matrix or expertile_mutable_matrix. name: for messages.
template <class View, class Matrix>
[[nodiscard]] Result<View> view_of(const Matrix& given, const char* name) {
  const auto element = element_of(given.element, name, ".element");
  if (!element) return fail(element.error());
  if (!*element) return invalid(fmt::format("{}.element is 0, it must be an expertile_element", name));
  if (given.reserved != 0) return invalid(fmt::format("{}.reserved is {}, it must be 0", name, given.reserved));
  return View{given.data, given.rows, given.cols, given.pitch == 0 ? given.cols : given.pitch, **element};
}
template <class View, class Matrix>
[[nodiscard]] Result<View> view_at(const Matrix* given, const char* name) {
  if (given == nullptr) return invalid(fmt::format("{} is null, it must point to a matrix", name));
  return view_of<View>(*given, name);
}

}  // namespace expertile::capi
