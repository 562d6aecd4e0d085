#pragma once
// How large the tensors of a problem are: the one place that counts their elements and bytes.

#include <cstdint>
#include <vector>

#include "expertile/grouped_gemm.hpp"
#include "expertile/problem.hpp"

namespace expertile {

// Of experts, rows and columns of the weights, and what a configuration or an option says of them.
inline constexpr std::int64_t kLargestSize = std::int64_t{1} << 31;

// Entries of the scales that a call is given; 0 for none.
struct ScaleSizes {
  std::int64_t a = 0;
  std::int64_t b = 0;
};
// rows: A's rows, M.
[[nodiscard]] ScaleSizes scale_sizes(const Problem& problem, std::int64_t rows) noexcept;

// The weights' element type, block_shape considered.
[[nodiscard]] ElementType weight_type(const Problem& problem) noexcept;

// How a call stores A (before it is quantised on the fly) and C, and tells the groups' rows: what its kernel is made
// for.
struct CallTypes {
  ElementType a = ElementType::float16;
  ElementType c = ElementType::float16;
  RowLayout rows = RowLayout::offsets;

  friend bool operator==(const CallTypes&, const CallTypes&) = default;
};
// Those that are tuned and timed; and all that calls may have in a layout.
[[nodiscard]] CallTypes usual_types(const Problem& problem) noexcept;
[[nodiscard]] std::vector<CallTypes> call_types(const Problem& problem, RowLayout rows = RowLayout::offsets);

// Bytes of A, B, C and the scales for `rows` rows.
[[nodiscard]] double tensor_bytes(const Problem& problem, double rows) noexcept;
// The least that a call must move: the active experts' weights and scales, A, and C.
[[nodiscard]] double bytes_moved(const Problem& problem, double rows, double active_groups) noexcept;

// An element as a float, and back (rounded to nearest even, int8 saturates, NaN gives 0), of the types that kernels
// read and write. Any other is NaN, and stays as it is.
[[nodiscard]] float load_element(ElementType type, const void* data, std::int64_t index) noexcept;
void store_element(ElementType type, float value, void* data, std::int64_t index) noexcept;

}  // namespace expertile
