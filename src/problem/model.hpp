#pragma once
// Hugging Face config.json -> the numbers that a MoE layer's problems need.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/problem.hpp"

namespace expertile {

struct ModelSpec {
  std::string name;  // as the user gave it
  std::int64_t hidden_size = 0;
  DType dtype = DType::float16;
  std::optional<BlockShape> block_shape;
  std::optional<Scales> scales;         // when the quantisation says so
  std::optional<std::int64_t> experts;  // none: a dense model, defaults are used
  std::optional<std::int64_t> top_k;
  std::optional<std::int64_t> intermediate;  // one expert's width
  std::vector<std::string> notices;          // one line each, for the user
};

// text: the whole file, hostile. origin: for messages.
[[nodiscard]] Result<ModelSpec> parse_model_config(std::string_view text, std::string_view origin);

// model: a directory, a config.json, or org/name: local folder, then Hugging Face cache, then download.
[[nodiscard]] Result<ModelSpec> load_model(const std::string& model);

}  // namespace expertile
