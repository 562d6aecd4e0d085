#pragma once
// The MoE layer: topk_ids and hidden states in, hidden states out. Prepare once, call many times.
//
//   auto layer = expertile::MoeLayer::prepare({.experts = 8, .hidden_size = 4096, .intermediate_size = 14336});
//   std::vector<std::byte> workspace(layer->workspace_bytes(tokens));
//   auto status = (*layer)({.hidden_states = view(h, tokens, 4096), .w13 = view(w13, 8 * 2 * 14336, 4096),
//                           .w2 = view(w2, 8 * 4096, 14336), .topk_ids = ids(topk_ids, tokens, 2),
//                           .topk_weights = view(weights, tokens, 2), .out = view(out, tokens, 4096),
//                           .workspace = workspace});

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "expertile/activation.hpp"
#include "expertile/grouped_gemm.hpp"

namespace expertile {

// Where a token's router weight is multiplied in: with its expert's output, or with its hidden state before the first
// product (Llama 4).
enum class RouterWeight { output, input };

// One layer's experts on this rank, without the batch size.
struct MoeProblem {
  std::int64_t experts = 8;                // E, on this rank
  std::int64_t hidden_size = 4096;         // H
  std::int64_t intermediate_size = 14336;  // I, on this rank
  std::int64_t top_k = 2;                  // ids a token
  // Of the products, as Problem has them. Hidden states are floats, always: where a dtype's A has eight bits the layer
  // quantises, each token once, and between the products each row once.
  DType dtype = DType::bfloat16;
  std::optional<BlockShape> block_shape{};
  std::optional<Scales> scales{};
  bool tf32 = false;
  // Of hidden states, what the products write, and out: float16, bfloat16 or float32. None: the dtype's own, bfloat16
  // where it is quantised.
  std::optional<ElementType> hidden_type{};
  Activation activation = Activation::silu;
  float alpha = 1.702F;  // of swiglu_oai
  // Before the activation: g = min(g, limit), u = max(-limit, min(u, limit)). None: of swiglu_oai 7, else there is
  // none.
  std::optional<float> limit{};
  GateOrder gate_order = GateOrder::gate_first;
  RouterWeight router_weight = RouterWeight::output;
  // A token's bits do not depend on the batch that it comes in. Without it the same call gives the same bits every
  // time, but another number of tokens may run with another tile, whose sums have another order.
  // Every number of tokens runs with one tile then, which costs time.
  bool batch_invariant = false;
};

// Sizes positive and products inside int64; dtype, scales, activation and limit go together.
[[nodiscard]] Status validate(const MoeProblem& problem);
[[nodiscard]] ElementType hidden_type_of(const MoeProblem& problem) noexcept;
// None: there is no limit.
[[nodiscard]] std::optional<float> limit_of(const MoeProblem& problem) noexcept;
// The two products: gate_up [M, 2I or I] = A [M, H] x w13^T and down [M, H] = A [M, I] x w2^T, with the A that the
// layer makes for them: M = tokens * top_k rows, sorted by expert.
[[nodiscard]] Problem gate_up_of(const MoeProblem& problem) noexcept;
[[nodiscard]] Problem down_of(const MoeProblem& problem) noexcept;

// topk_ids [T, top_k] of int32 or int64. pitch: elements from one token's first id to the next one's.
struct TopKIds {
  const void* data = nullptr;
  std::int64_t tokens = 0;
  std::int64_t top_k = 0;
  std::int64_t pitch = 0;
  bool is_64_bits = false;
};
[[nodiscard]] inline TopKIds ids(const std::int32_t* data, std::int64_t tokens, std::int64_t top_k) {
  return {data, tokens, top_k, top_k, false};
}
[[nodiscard]] inline TopKIds ids(const std::int64_t* data, std::int64_t tokens, std::int64_t top_k) {
  return {data, tokens, top_k, top_k, true};
}

// out[t] = shared_output[t] + sum over its slots s, in their order, of
//   topk_weights[t, s] * (w2[e] x act(w13[e] x hidden_states[t] + bias_13[e]) + bias_2[e]),  e = topk_ids[t, s].
// Nothing is owned. On a GPU every pointer points into its memory. Rows of matrices may be further apart than they are
// long; weights and their scales lie as the model has them.
struct MoeLayerArgs {
  ConstMatrixView hidden_states{};  // [T, H] of the hidden type
  ConstMatrixView w13{};            // [E * 2I, H], or [E * I, H] where the activation has no gate
  ConstMatrixView w2{};             // [E * H, I]
  TopKIds topk_ids{};               // [T, top_k]; -1 is no expert
  ConstMatrixView topk_weights{};   // [T, top_k] float32
  MatrixView out{};                 // [T, H] of the hidden type; may be hidden_states or shared_output themselves
  // Of the weights, as GroupedGemmArgs::scale_b.
  std::span<const float> scale_13{};
  std::span<const float> scale_2{};
  // Scales::per_tensor alone: what the inputs of each expert's products are divided by, [E] each.
  std::span<const float> input_scale_13{};
  std::span<const float> input_scale_2{};
  ConstMatrixView bias_13{};  // [E, 2I] or [E, I], rows ordered as w13's; any float type; no data: none
  ConstMatrixView bias_2{};   // [E, H]
  // [experts of the whole model]: the local expert of each, -1 where it is on another rank. Empty: ids are local.
  std::span<const std::int32_t> expert_map{};
  ConstMatrixView shared_output{};  // [T, H] of the hidden type, added; no data: none

  void* stream = nullptr;            // as GroupedGemmArgs::stream
  std::span<std::byte> workspace{};  // workspace_bytes(T), 256-byte aligned, in use until the call is complete
};

// Shapes, types, pointers and scales agree with the problem. One line names what does not. Reads topk_ids and
// expert_map, so these must lie in the host's memory; a call on a GPU checks all else, and skips ids that are no
// expert's as if they were -1.
[[nodiscard]] Status validate(const MoeProblem& problem, const MoeLayerArgs& args);

struct MoePrepareOptions {
  std::string device = "auto";         // as Device::open takes it
  int threads = 0;                     // likewise
  std::filesystem::path config_dir{};  // as PrepareOptions has it
};

// What the two products of a call run with.
struct MoeSelection {
  Selection gate_up{};
  Selection down{};
};

// A prepared layer. Copies share state; calls from several threads at once are safe.
class MoeLayer {
 public:
  // As GroupedGemm::prepare, for both products, and loads what lies between them.
  [[nodiscard]] static Result<MoeLayer> prepare(const MoeProblem& problem, const MoePrepareOptions& options = {});

  [[nodiscard]] MoeSelection selection(std::int64_t tokens) const;
  // On a CPU, returns when out is complete. On a GPU, enqueues the chain on args.stream and returns: nothing is
  // allocated, synchronised or read back, so a CUDA graph can capture it. On an error out is untouched.
  [[nodiscard]] Status operator()(const MoeLayerArgs& args) const;

  // What args.workspace must hold.
  [[nodiscard]] std::size_t workspace_bytes(std::int64_t tokens) const noexcept;
  [[nodiscard]] const MoeProblem& problem() const noexcept;

 private:
  struct State;
  explicit MoeLayer(std::shared_ptr<const State> state);
  std::shared_ptr<const State> state_;
};

[[nodiscard]] std::string_view name(Activation activation) noexcept;
[[nodiscard]] std::string_view name(GateOrder order) noexcept;
[[nodiscard]] std::string_view name(RouterWeight where) noexcept;
[[nodiscard]] Result<Activation> parse_activation(std::string_view text);
[[nodiscard]] Result<GateOrder> parse_gate_order(std::string_view text);

}  // namespace expertile
