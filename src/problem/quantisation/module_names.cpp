#include "problem/quantisation/module_names.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "problem/model/names.hpp"
#include "problem/quantisation/moe_layers.hpp"
#include "problem/quantisation/section.hpp"

namespace expertile::quantisation {
namespace {

using Json = nlohmann::json;
using Words = std::array<std::string_view, kProjections>;

// What stands before a layer's number.
constexpr std::string_view kHeads[] = {
    "model.layers.",
    "model.language_model.layers.",  // as checkpoints have them
    "layers.",
    "backbone.layers.",  // DeepSeek-V4; Nemotron-H
    "thinker.model.layers.",
    "transformer.blocks.",  // Qwen omni; DBRX
    "language_model.layers.",
    "language_model.model.layers.",  // as engines and some quantisers rename them
};

constexpr Words kProj = {"gate_proj", "up_proj", "down_proj"};
constexpr Words kW = {"w1", "w3", "w2"};
constexpr Words kMlpWhole = {"mlp.experts.gate_up_proj", "mlp.experts.gate_up_proj", "mlp.experts.down_proj"};
constexpr Words kForwardWhole = {"feed_forward.experts.gate_up_proj", "feed_forward.experts.gate_up_proj",
                                 "feed_forward.experts.down_proj"};
constexpr Words kGemmaWhole = {"experts.gate_up_proj", "experts.gate_up_proj", "experts.down_proj"};
constexpr Words kStepWhole = {"moe.gate_proj", "moe.up_proj", "moe.down_proj"};
constexpr Words kGraniteWhole = {"block_sparse_moe.input_linear", "block_sparse_moe.input_linear",
                                 "block_sparse_moe.output_linear"};
constexpr Words kDbrxWhole = {"ffn.experts.mlp.w1", "ffn.experts.mlp.v1", "ffn.experts.mlp.w2"};
constexpr Words kNoWhole = {};

constexpr ModuleRow kRows[] = {
    {"", "mlp.experts", kProj, kMlpWhole},
    {"mixtral", "block_sparse_moe.experts", kW, kNoWhole},
    {"phimoe", "block_sparse_moe.experts", kW, kNoWhole},
    {"minimax_m2", "block_sparse_moe.experts", kW, kNoWhole},
    {"minimax_m3", "block_sparse_moe.experts", kW, kNoWhole},
    {"minimax_m3_vl", "block_sparse_moe.experts", kW, kNoWhole},
    {"kimi_linear", "block_sparse_moe.experts", kW, kNoWhole},
    {"kimi_k3", "block_sparse_moe.experts", kW, kNoWhole},
    {"arctic", "block_sparse_moe.experts", kW, kNoWhole},
    {"granitemoe", "block_sparse_moe.experts", kProj, kGraniteWhole},
    {"granitemoehybrid", "block_sparse_moe.experts", kProj, kGraniteWhole},
    {"llama4", "feed_forward.experts", kProj, kForwardWhole},
    {"llama4_text", "feed_forward.experts", kProj, kForwardWhole},
    {"jamba", "feed_forward.experts", kProj, kNoWhole},
    {"lfm2_moe", "feed_forward.experts", kW, kNoWhole},
    {"nemotron_h", "mixer.experts", {"up_proj", "up_proj", "down_proj"}, kNoWhole},
    {"deepseek_v4", "ffn.experts", kW, kNoWhole},
    {"deepseek_ref", "ffn.experts", kW, kNoWhole},
    {"dbrx", "ffn.experts", {"w1", "v1", "w2"}, kDbrxWhole},
    {"gemma4", "experts", kProj, kGemmaWhole},
    {"gemma4_text", "experts", kProj, kGemmaWhole},
    {"step3p5", "moe.experts", kProj, kStepWhole},
    {"step3p7", "moe.experts", kProj, kStepWhole},
    {"ernie4_5_moe_vl", "mlp.text_experts", kProj, kNoWhole},
    {"ernie4_5_vl_moe", "mlp.text_experts", kProj, kNoWhole},
};

const ModuleRow* find_row(std::string_view model_type) {
  const auto* found = std::ranges::find(kRows, model_type, &ModuleRow::model_type);
  return found == std::end(kRows) ? nullptr : found;
}

// The language model's type is nearer to the experts than that of what is built around it.
const ModuleRow& row_of(const std::vector<const Json*>& objects) {
  for (auto object = objects.rbegin(); object != objects.rend(); ++object) {
    const Json* type = find_member(**object, "model_type");
    if (type == nullptr || !type->is_string() || type->get_ref<const std::string&>().empty()) continue;
    if (const ModuleRow* row = find_row(type->get_ref<const std::string&>())) return *row;
  }
  return kRows[0];
}

ExpertLayer spell(std::int64_t number, const ModuleRow& row) {
  ExpertLayer layer;
  layer.number = number;
  for (const std::string_view head : kHeads) {
    const std::string before = fmt::format("{}{}.", head, number);
    layer.modules.push_back(fmt::format("{}{}", before, row.module));
    for (std::size_t i = 0; i < kProjections; ++i) {
      layer.projections[i].push_back(fmt::format("{}.0.{}", layer.modules.back(), row.projections[i]));
      if (!row.whole[i].empty()) layer.whole[i].push_back(fmt::format("{}{}", before, row.whole[i]));
    }
  }
  return layer;
}

}  // namespace

std::vector<const Json*> config_objects(const Json& root) {
  std::vector<const Json*> objects = {&root};
  const auto add = [&objects](const Json& outer, std::string_view key) -> const Json* {
    const Json* inner = find_member(outer, key);
    if (inner == nullptr || !inner->is_object()) return nullptr;
    objects.push_back(inner);
    return inner;
  };
  for (const std::string_view key : model::text_sections()) add(root, key);
  if (const Json* thinker = add(root, "thinker_config")) add(*thinker, "text_config");
  return objects;
}

Result<ExpertModules> expert_modules(const Json& root, const Json& section, std::string_view origin) {
  const auto objects = config_objects(root);
  const auto numbers = moe_layers(objects, section, origin);
  if (!numbers) return fail(numbers.error());
  const ModuleRow& row = row_of(objects);
  ExpertModules modules;
  modules.counted = numbers->counted;
  modules.projection_words = row.projections;
  for (const std::int64_t number : numbers->numbers) modules.layers.push_back(spell(number, row));
  return modules;
}

std::span<const ModuleRow> module_rows() { return kRows; }

}  // namespace expertile::quantisation
