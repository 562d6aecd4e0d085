#include "expertile/operand.hpp"

#include "problem/presets.hpp"

namespace expertile {
namespace {

constexpr std::int64_t kPanelRows = 16;
constexpr std::int64_t kPanelBytes = 64;  // of K

// A part of the parts that `whole` is cut into; 0 cuts nothing.
std::int64_t parts(std::int64_t whole, std::int64_t part) { return part == 0 ? 1 : ceil_div(whole, part); }

std::int64_t round_up(std::int64_t value, std::int64_t unit) { return ceil_div(value, unit) * unit; }

std::int64_t element_bytes(const Operand& operand, const OperandShape& shape) {
  const std::int64_t row = bytes_of(operand.element, shape.k);
  switch (operand.arrangement) {
    case Arrangement::as_stored:
      return shape.matrices * shape.rows * row;
    case Arrangement::cpu_panels:
      return shape.matrices * round_up(shape.rows, kPanelRows) * round_up(row, kPanelBytes);
  }
  return 0;
}

// A preset's scales with the problem's blocks in.
std::optional<ScaleSpec> with_blocks(std::optional<ScaleSpec> scales, const BlockShape& block) {
  if (scales && scales->rows == kOfBlockShape) scales->rows = block.n;
  if (scales && scales->k == kOfBlockShape) scales->k = block.k;
  return scales;
}

Operand with_blocks(Operand operand, const BlockShape& block) {
  operand.scales = with_blocks(operand.scales, block);
  operand.outer_scales = with_blocks(operand.outer_scales, block);
  return operand;
}

}  // namespace

std::int64_t scale_count(const ScaleSpec& scales, const OperandShape& shape) noexcept {
  const std::int64_t along_rows = scales.rows == 0 ? shape.experts : shape.matrices * ceil_div(shape.rows, scales.rows);
  return along_rows * parts(shape.k, scales.k);
}

OperandBytes bytes_of(const Operand& operand, const OperandShape& shape) noexcept {
  OperandBytes bytes;
  bytes.elements = element_bytes(operand, shape);
  for (const auto& scales : {operand.scales, operand.outer_scales}) {
    if (!scales) continue;
    const std::int64_t count = scale_count(*scales, shape);
    bytes.scales += bytes_of(scales->type, count);
    if (scales->zero_points) bytes.zero_points += bytes_of(*scales->zero_points, count);
  }
  return bytes;
}

Operands operands_of(const Problem& problem) noexcept {
  const Preset& preset = preset_of(problem);
  const BlockShape block = problem.block_shape.value_or(BlockShape{});
  const Operand a = with_blocks(preset.a, block);
  return {a, preset.quantised_a ? with_blocks(*preset.quantised_a, block) : a, with_blocks(preset.b, block), preset.c};
}

OperandShape shape_of_a(const Problem& problem, std::int64_t rows) noexcept {
  return {problem.experts, 1, rows, problem.k};
}

OperandShape shape_of_b(const Problem& problem) noexcept {
  return {problem.experts, problem.experts, problem.n, problem.k};
}

std::string_view name(Arrangement arrangement) noexcept {
  switch (arrangement) {
    case Arrangement::as_stored:
      return "as_stored";
    case Arrangement::cpu_panels:
      return "cpu_panels";
  }
  return "";
}

}  // namespace expertile
