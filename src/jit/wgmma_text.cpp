#include "jit/wgmma_text.hpp"

#include <fmt/format.h>

#include <set>
#include <string_view>

#include "kernel_shape.hpp"

namespace expertile::jit {
namespace {

struct Instruction {
  std::string_view shape;         // behind m64n<columns>
  bool is_integer = false;        // sums are int, and operands take no factors
  bool has_orientations = false;  // of operands in shared memory: 16-bit ones could be transposed
};

Instruction instruction(Product product) {
  switch (product) {
    case Product::float16:
    case Product::int8_float16:
      return {"k16.f32.f16.f16", false, true};
    case Product::bfloat16:
    case Product::int8_bfloat16:
      return {"k16.f32.bf16.bf16", false, true};
    case Product::tf32:
    case Product::tf32x3:
      return {"k8.f32.tf32.tf32"};
    case Product::e4m3:
      return {"k32.f32.e4m3.e4m3"};
    case Product::int8:
      return {"k32.s32.s8.s8", true};
  }
  return {};
}

// "%first, %first+1, ..."
std::string operands(int first, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += fmt::format("{}%{}", i == 0 ? "" : ", ", first + i);
  return text;
}

std::string function(const KernelSpec& spec, int columns, bool x_in_registers, bool adds) {
  const Instruction wgmma = instruction(spec.product);
  const int sums = columns / 2;
  const int x_words = x_in_registers ? 4 : 1;
  const int y = sums + x_words;
  std::string outputs;
  for (int i = 0; i < sums; ++i) {
    outputs += fmt::format("{}\"{}{}\"(d[{}][{}])", i == 0 ? "" : ", ", adds ? '+' : '=', wgmma.is_integer ? 'r' : 'f',
                           i / 4, i % 4);
  }
  const std::string x_operand = x_in_registers ? fmt::format("{{{}}}", operands(sums, 4)) : fmt::format("%{}", sums);
  const std::string x_input = x_in_registers ? R"("r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]))" : R"("l"(x))";
  const std::string_view orientations = !wgmma.has_orientations ? "" : x_in_registers ? ", 0" : ", 0, 0";
  return fmt::format(
      R"(template <Product PRODUCT, int COLUMNS, bool ADDS, int HELD>
  requires(PRODUCT == static_cast<Product>({product}) && COLUMNS == {columns} && ADDS == {adds} && HELD >= COLUMNS / 8)
EXPERTILE_DEVICE void {name}({sum} (&d)[HELD][4], {x}, unsigned long long y) {{
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n{columns}{shape} {{{sums}}}, {x_operand}, %{y}, %{flag}{factors}{orientations};"
      : {outputs}
      : {x_input}, "l"(y), "n"({flag_value}));
}}
)",
      fmt::arg("name", x_in_registers ? "wgmma_from_registers" : "wgmma"),
      fmt::arg("sum", wgmma.is_integer ? "int" : "float"),
      fmt::arg("x", x_in_registers ? "const unsigned (&x)[4]" : "unsigned long long x"),
      fmt::arg("product", static_cast<int>(spec.product)), fmt::arg("columns", columns), fmt::arg("flag", y + 1),
      fmt::arg("adds", adds), fmt::arg("flag_value", adds ? 1 : 0), fmt::arg("shape", wgmma.shape),
      fmt::arg("sums", operands(0, sums)), fmt::arg("x_operand", x_operand), fmt::arg("y", y),
      fmt::arg("factors", wgmma.is_integer ? "" : ", 1, 1"), fmt::arg("orientations", orientations),
      fmt::arg("outputs", outputs), fmt::arg("x_input", x_input));
}

// Of the products that a tile is cut to, or of its pieces'.
std::set<int> widths(const KernelSpec& spec) {
  std::set<int> all;
  for (int columns = 0; columns < tile_y(spec.tile);) {
    columns = next_columns(spec, columns);
    all.insert(subtile_of(spec, {blocks_x(spec.tile), columns}).columns);
  }
  return all;
}

}  // namespace

std::string wgmma_text(const KernelSpec& spec) {
  std::string functions;
  for (const int columns : widths(spec)) {
    for (const bool x_in_registers : {false, true}) {
      for (const bool adds : {false, true}) functions += function(spec, columns, x_in_registers, adds);
    }
  }
  return fmt::format("#pragma once\n#include <ptx90.hpp>\nnamespace expertile::ptx {{\n{}}}\n", functions);
}

}  // namespace expertile::jit
