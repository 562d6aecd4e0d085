#pragma once
// Hugging Face config.json -> the numbers that a MoE layer's problems need.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/problem.hpp"
#include "problem/model/activation.hpp"
#include "problem/quantisation/quantisation.hpp"

namespace expertile {

// What a configuration says, and of what it does not say, why: an error names the option that would. Nothing is filled
// in that the file leaves open.
struct ModelSpec {
  std::string name;  // as the user gave it
  Result<std::int64_t> hidden_size = 0;
  Result<std::optional<std::int64_t>> experts;  // none: a dense model, whose top_k and width say nothing of experts
  Result<std::int64_t> top_k = 0;
  Result<std::int64_t> intermediate = 0;                   // one expert's width
  Result<std::optional<std::int64_t>> expert_hidden_size;  // where it is not the hidden size
  ModelActivation activation;
  std::string activation_notice;          // empty, or one line: what was taken for granted
  Result<DType> dtype = DType::bfloat16;  // of what is not quantised
  bool names_dtype = false;               // else that is what most are
  Result<Quantisation> quantisation;      // of the routed experts
  std::vector<std::string> notices;       // one line each, for the user
};

// text: the whole of config.json; beside: the whole of hf_quant_config.json next to it, if there is one. Both are
// hostile. origin: for messages. Infinity and NaN are read, as Python writes them.
[[nodiscard]] Result<ModelSpec> parse_model_config(std::string_view text, std::string_view origin,
                                                   const std::optional<std::string>& beside = {});

// model: a directory, a config.json, or org/name: local folder, then Hugging Face cache, then download.
[[nodiscard]] Result<ModelSpec> load_model(const std::string& model);

}  // namespace expertile
