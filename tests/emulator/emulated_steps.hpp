#pragma once
// The layer's kernels that make rows, by the host's compiler: every hidden type with every way of narrowing, activation
// and order of the gate. A file a hidden type, so that they are compiled side by side.

#include <array>
#include <vector>

#include "layer/rows.hpp"

namespace expertile::testing {

struct EmulatedRows {
  RowsSpec spec;
  void (*run)(const RowsArgs&) = nullptr;
};
[[nodiscard]] std::vector<EmulatedRows> rows_of_float16();
[[nodiscard]] std::vector<EmulatedRows> rows_of_bfloat16();
[[nodiscard]] std::vector<EmulatedRows> rows_of_float32();

template <RowsSpec SPEC>
void add_rows(std::vector<EmulatedRows>& all) {
  all.push_back({SPEC, [](const RowsArgs& args) { make_rows<SPEC>(args); }});
}

template <Storage FROM, Storage OUT, Scaling SCALING>
void add_narrowed(std::vector<EmulatedRows>& all) {
  using enum Activation;
  constexpr auto spec = [](RowsOf of, Activation activation = Activation::silu,
                           GateOrder order = GateOrder::gate_first) {
    return RowsSpec{of, FROM, OUT, SCALING, activation, order};
  };
  add_rows<spec(RowsOf::tokens)>(all);
  add_rows<spec(RowsOf::slots)>(all);
  add_rows<spec(RowsOf::gate_up, silu)>(all);
  add_rows<spec(RowsOf::gate_up, silu, GateOrder::up_first)>(all);
  add_rows<spec(RowsOf::gate_up, silu, GateOrder::interleaved)>(all);
  add_rows<spec(RowsOf::gate_up, gelu_tanh)>(all);
  add_rows<spec(RowsOf::gate_up, gelu_tanh, GateOrder::up_first)>(all);
  add_rows<spec(RowsOf::gate_up, gelu_tanh, GateOrder::interleaved)>(all);
  add_rows<spec(RowsOf::gate_up, swiglu_oai)>(all);
  add_rows<spec(RowsOf::gate_up, swiglu_oai, GateOrder::up_first)>(all);
  add_rows<spec(RowsOf::gate_up, swiglu_oai, GateOrder::interleaved)>(all);
  add_rows<spec(RowsOf::gate_up, relu2)>(all);
}

template <Storage FROM>
std::vector<EmulatedRows> rows_of() {
  std::vector<EmulatedRows> all;
  add_narrowed<FROM, FROM, Scaling::none>(all);
  add_narrowed<FROM, Storage::e4m3, Scaling::per_tensor>(all);
  add_narrowed<FROM, Storage::e4m3, Scaling::per_token_channel>(all);
  add_narrowed<FROM, Storage::e4m3, Scaling::block>(all);
  add_narrowed<FROM, Storage::int8, Scaling::per_token_channel>(all);
  add_narrowed<FROM, Storage::int8, Scaling::block>(all);
  return all;
}

}  // namespace expertile::testing
