#pragma once
// What a matrix of a product is made of: elements, scales, and the order they lie in. A problem's dtype, block_shape,
// scales and tf32 are the names of presets (src/problem/presets.cpp has the table); operands_of says what they mean.
//
//   int4 weights with a float16 scale for 128 of K:  {ElementType::int4, ScaleSpec{ElementType::float16, 1, 128}}
//   MXFP4:  {ElementType::float4_e2m1, ScaleSpec{ElementType::float8_e8m0, 1, 32}}
//   NVFP4:  {ElementType::float4_e2m1, ScaleSpec{ElementType::float8_e4m3, 1, 16}, ScaleSpec{}}
//
// The words hold more than any kernel multiplies: validate() refuses what none does.

#include <cstdint>
#include <optional>

#include "expertile/problem.hpp"
#include "expertile/types.hpp"

namespace expertile {

// Of one expert's rows, one scale holds for `rows` rows and `k` elements of K; 0: all. (value = scale * (element - zero
// point).) The default is one float32 an expert.
struct ScaleSpec {
  ElementType type = ElementType::float32;
  std::int64_t rows = 0;  // of A: tokens; of B: columns of C
  std::int64_t k = 0;
  std::optional<ElementType> zero_points{};  // one beside each scale; none: they are 0

  friend bool operator==(const ScaleSpec&, const ScaleSpec&) = default;
};

// In which order the elements lie. Any order but as_stored is made once, before the first call, by the backend that
// will read it, from weights as_stored, into memory of the caller's that bytes_of() has measured: its size follows from
// the operand and its shape alone, never from the tile that a call takes. Scales keep their order.
enum class Arrangement {
  as_stored,   // row by row, each beginning at a whole byte
  cpu_panels,  // 16 rows by 64 bytes of K lie together, missing rows and bytes are 0; panels follow one another along K
};

struct Operand {
  ElementType element = ElementType::float32;
  std::optional<ScaleSpec> scales{};        // none: elements are the values
  std::optional<ScaleSpec> outer_scales{};  // multiply the scales
  Arrangement arrangement = Arrangement::as_stored;

  friend bool operator==(const Operand&, const Operand&) = default;
};

// `matrices` matrices of [rows, k]. B is one matrix an expert; A is one matrix with the tokens of all experts.
struct OperandShape {
  std::int64_t experts = 0;
  std::int64_t matrices = 0;
  std::int64_t rows = 0;
  std::int64_t k = 0;
};

// Whole bytes of each part.
struct OperandBytes {
  std::int64_t elements = 0;
  std::int64_t scales = 0;  // outer ones too
  std::int64_t zero_points = 0;
  [[nodiscard]] std::int64_t total() const noexcept { return elements + scales + zero_points; }
};

[[nodiscard]] std::int64_t scale_count(const ScaleSpec& scales, const OperandShape& shape) noexcept;
[[nodiscard]] OperandBytes bytes_of(const Operand& operand, const OperandShape& shape) noexcept;

// What a validated problem multiplies.
struct Operands {
  Operand a{};             // as a call gives it, by its usual element
  Operand multiplied_a{};  // after the call has quantised it; a where it does not
  Operand b{};
  ElementType c{};  // the usual one
};
[[nodiscard]] Operands operands_of(const Problem& problem) noexcept;
[[nodiscard]] OperandShape shape_of_a(const Problem& problem, std::int64_t rows) noexcept;  // rows: M
[[nodiscard]] OperandShape shape_of_b(const Problem& problem) noexcept;

[[nodiscard]] std::string_view name(Arrangement arrangement) noexcept;

}  // namespace expertile
