#pragma once
// What a layer keeps in a call's workspace between its steps, and the products' calls on it.

#include <cstddef>
#include <cstdint>
#include <span>

#include "expertile/moe_layer.hpp"

namespace expertile {

inline constexpr std::size_t kLayerAlignment = 256;

// rows: M = tokens * top_k, sorted by expert. What the second product reads lies where the first one's A was, and what
// it writes where the first one's C was.
struct LayerBuffers {
  std::int64_t* seg_indptr = nullptr;      // [E + 1]
  std::int64_t* weight_indices = nullptr;  // [E]: 0, 1, ...
  std::int32_t* slot_row = nullptr;        // [tokens, top_k]: the slot's row, -1 where it has no expert here
  std::int32_t* row_slot = nullptr;        // [M]
  std::int32_t* row_expert = nullptr;      // [M]
  MatrixView a13{};                        // [M, H], what the first product multiplies
  std::span<float> scales_13{};            // of a13, where the layer makes them
  MatrixView c13{};                        // [M, 2I or I] of the hidden type
  MatrixView a2{};                         // [M, I]
  std::span<float> scales_2{};
  MatrixView c2{};        // [M, H] of the hidden type
  std::size_t bytes = 0;  // of all
};

// Of a validated problem. workspace may be null, to measure.
[[nodiscard]] LayerBuffers layer_buffers(const MoeProblem& problem, std::int64_t tokens, std::byte* workspace) noexcept;

[[nodiscard]] GroupedGemmArgs gate_up_call(const MoeProblem& problem, const MoeLayerArgs& args,
                                           const LayerBuffers& buffers) noexcept;
[[nodiscard]] GroupedGemmArgs down_call(const MoeProblem& problem, const MoeLayerArgs& args,
                                        const LayerBuffers& buffers) noexcept;

// Rows of this rank's experts to expect in a call, which choose the tiles: with an expert_map, its share of all.
[[nodiscard]] std::int64_t expected_rows(const MoeProblem& problem, const MoeLayerArgs& args) noexcept;

[[nodiscard]] inline bool weighs_inputs(const MoeProblem& problem) noexcept {
  return problem.router_weight == RouterWeight::input;
}
// Of ids in the host's memory.
[[nodiscard]] std::int64_t id_at(const TopKIds& ids, std::int64_t token, std::int64_t slot) noexcept;

// What a product of the layer multiplies its weights by.
[[nodiscard]] ElementType multiplied_type(const MoeProblem& problem) noexcept;
// Entries of the scales that the layer makes for `rows` rows of `k` elements.
[[nodiscard]] std::int64_t made_scales(const Problem& product, std::int64_t rows) noexcept;

}  // namespace expertile
