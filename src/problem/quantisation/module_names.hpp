#pragma once
// What the projections of the routed experts are called in a checkpoint, layer by layer. A quantisation section speaks
// of modules by name: these are the names that it is asked for.

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "expertile/error.hpp"

namespace expertile::quantisation {

inline constexpr std::int64_t kMostLayers = 1000;

// gate, up, down; experts without a gate have up twice.
inline constexpr std::size_t kProjections = 3;

// One layer's experts. Checkpoints and engines write the same module below several heads, "model.layers." and
// "language_model.model.layers." and others: every spelling is there.
struct ExpertLayer {
  std::int64_t number = 0;
  std::vector<std::string> modules;  // "model.layers.3.mlp.experts"
  std::array<std::vector<std::string>, kProjections>
      projections;  // of expert 0, which stands for all: "...0.gate_proj"
  // Where all experts' weights are one tensor: "model.layers.3.mlp.experts.gate_up_proj" for the first two; may be
  // empty.
  std::array<std::vector<std::string>, kProjections> whole;
};

struct ExpertModules {
  std::vector<ExpertLayer> layers;                              // those that have experts; never empty
  bool counted = false;                                         // the file says how many layers there are
  std::array<std::string_view, kProjections> projection_words;  // "gate_proj", "up_proj", "down_proj"
};

// The objects of config.json that may speak of the language model, the outermost first.
[[nodiscard]] std::vector<const nlohmann::json*> config_objects(const nlohmann::json& root);

// section: the quantisation's, whose names tell how many layers there are where config.json does not. Errors begin with
// origin and name the field.
[[nodiscard]] Result<ExpertModules> expert_modules(const nlohmann::json& root, const nlohmann::json& section,
                                                   std::string_view origin);

// How model types name their experts, for docs: all others are as the row with an empty model_type.
struct ModuleRow {
  std::string_view model_type;
  std::string_view module;                                 // below the layer: "mlp.experts"
  std::array<std::string_view, kProjections> projections;  // of one expert
  std::array<std::string_view, kProjections> whole;        // below the layer, where all experts are one tensor
};
[[nodiscard]] std::span<const ModuleRow> module_rows();

}  // namespace expertile::quantisation
