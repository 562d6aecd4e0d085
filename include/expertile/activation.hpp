#pragma once
// What stands between the two products of an expert layer. Read by the host and by the device text: so this header
// includes nothing.

namespace expertile {

// Of gate g and up u, in float32; sigmoid(x) = 1 / (1 + exp(-x)).
enum class Activation : int {
  silu,        // g * sigmoid(g) * u
  gelu_tanh,   // g / 2 * (1 + tanh(sqrt(2 / pi) * (g + 0.044715 * g^3))) * u
  swiglu_oai,  // g * sigmoid(alpha * g) * (u + 1): gpt-oss
  relu2,       // max(g, 0)^2: there is no u
};
[[nodiscard]] constexpr bool has_gate(Activation activation) { return activation != Activation::relu2; }

// How the rows of w13 [2I, H] are gate and up, as models store them.
enum class GateOrder : int {
  gate_first,   // I rows of gate, then I of up: Hugging Face, vLLM, SGLang
  up_first,     // the other way round: FlashInfer's CUTLASS layer
  interleaved,  // row 2i is gate i, row 2i + 1 is up i: gpt-oss
};

}  // namespace expertile
