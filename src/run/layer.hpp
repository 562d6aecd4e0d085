#pragma once
// What the user typed and what a model's files say -> the layer, one rank's share of it, and its products.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "run/options.hpp"

namespace expertile::run {

// A MoE layer's routed experts, as they are tuned.
struct Layer {
  std::int64_t hidden_size = 0;         // names the file
  std::int64_t expert_hidden_size = 0;  // what the experts read and write; hidden_size but in a latent space
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
  std::int64_t intermediate = 0;  // one expert's width
  ModelActivation activation;
  DType dtype = DType::float16;
  std::optional<BlockShape> block_shape;
  std::optional<Scales> scales;  // none: the dtype's usual ones
};

// notices: one line each, for what was decided for the user.
[[nodiscard]] Result<Layer> make_layer(const TextOptions& text, std::vector<std::string>& notices);

// What one rank of --tp-size and --ep-size has of it. Refused where the weights' scales cannot be split so.
[[nodiscard]] Result<Layer> share_of_a_rank(const Layer& layer, const TextOptions& text,
                                            std::vector<std::string>& notices);

// Those that --projection asks for, each valid.
[[nodiscard]] Result<std::vector<NamedProblem>> make_problems(const Layer& layer, const TextOptions& text);

}  // namespace expertile::run
