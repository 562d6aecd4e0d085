#pragma once
// Matrices and arrays of expertile.h as the library's views.

#include <cstdint>
#include <span>

#include "capi/words.hpp"
#include "expertile/grouped_gemm.hpp"

namespace expertile::capi {

[[nodiscard]] inline Status check_aligned(const void* data, std::size_t bytes, const char* name) {
  if (reinterpret_cast<std::uintptr_t>(data) % bytes == 0) return {};
  return invalid(
      fmt::format("{} is at address {}, it must be a multiple of its element's {} bytes", name, data, bytes));
}

// counted: what the message calls `count`.
template <class T>
[[nodiscard]] Result<std::span<T>> span_of(T* data, std::int64_t count, const char* name, const char* counted) {
  if (count < 0) return invalid(fmt::format("{} is {}, it must not be negative", counted, count));
  if (data == nullptr && count > 0) {
    return invalid(fmt::format("{} is null, by {} it must hold {}", name, counted, count));
  }
  if (auto status = check_aligned(data, alignof(T), name); !status) return fail(status.error());
  return std::span<T>(data, static_cast<std::size_t>(count));
}

// View: ConstMatrixView or MatrixView; Matrix: expertile_matrix or expertile_mutable_matrix. name: for messages.
template <class View, class Matrix>
[[nodiscard]] Result<View> view_of(const Matrix& given, const char* name) {
  const auto element = element_of(given.element, name, ".element");
  if (!element) return fail(element.error());
  if (given.reserved != 0) return invalid(fmt::format("{}.reserved is {}, it must be 0", name, given.reserved));
  return View{given.data, given.rows, given.cols, given.pitch == 0 ? given.cols : given.pitch, *element};
}
template <class View, class Matrix>
[[nodiscard]] Result<View> view_at(const Matrix* given, const char* name) {
  if (given == nullptr) return invalid(fmt::format("{} is null, it must point to a matrix", name));
  return view_of<View>(*given, name);
}

}  // namespace expertile::capi
