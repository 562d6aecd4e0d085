#pragma once
// The presets of operands that dtype, scales and block_shape name: one table, a row a preset, from which names, types,
// scales, sizes and messages are derived.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/operand.hpp"

namespace expertile {

// In a preset's scales: as far as the problem's block_shape says.
inline constexpr std::int64_t kOfBlockShape = -1;

struct Preset {
  DType dtype{};
  Scales scales{};
  Operand a{};                           // as a call gives it
  std::optional<ElementType> other_a{};  // what its elements may be instead
  std::optional<Operand> quantised_a{};  // what the call makes of it
  Operand b{};
  ElementType c{};  // the usual one
};

// A dtype's rows stand together; the first is its usual one.
[[nodiscard]] std::span<const Preset> presets() noexcept;
// Null where they do not go together.
[[nodiscard]] const Preset* find_preset(DType dtype, Scales scales) noexcept;
// Of a validated problem; of a value that is no dtype, any.
[[nodiscard]] const Preset& usual_preset(DType dtype) noexcept;
[[nodiscard]] const Preset& preset_of(const Problem& problem) noexcept;
// Those that the names of files and commands need not say.
[[nodiscard]] bool has_usual_scales(const Problem& problem) noexcept;

// Those that A and B may have in any preset, and C: what kernels read and write.
[[nodiscard]] std::vector<ElementType> types_of_a();
[[nodiscard]] std::vector<ElementType> types_of_a(const Preset& preset);
[[nodiscard]] std::vector<ElementType> types_of_b();
[[nodiscard]] std::span<const ElementType> types_of_c() noexcept;

// "a, b or c".
[[nodiscard]] std::string join(std::span<const std::string_view> names, std::string_view last);
[[nodiscard]] std::string join(std::span<const ElementType> types, std::string_view last);

}  // namespace expertile
