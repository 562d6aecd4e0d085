#include "problem/model/names.hpp"

#include <algorithm>

namespace expertile::model {
namespace {

using Field = std::string_view;

constexpr Field kHiddenSizeFields[] = {"hidden_size", "d_model", "n_embd"};
constexpr Field kExpertsFields[] = {"n_routed_experts", "moe_num_experts", "num_local_experts", "num_experts",
                                    "moe_num_primary_experts"};
// Not top_k: that is the sampler's, wherever it was seen.
constexpr Field kTopKFields[] = {"num_experts_per_tok",
                                 "num_experts_per_token",
                                 "experts_per_token",
                                 "top_k_experts",
                                 "moe_topk",
                                 "moe_top_k",
                                 "moe_k",
                                 "moe_router_topk",
                                 "moe_num_active_primary_experts"};
constexpr Field kWidthFields[] = {"moe_intermediate_size", "expert_ffn_hidden_size", "expert_hidden_dim",
                                  "moe_ffn_hidden_size"};
constexpr Field kSharedWidthFields[] = {"intermediate_size"};
constexpr Field kOlderWidthFields[] = {"n_inner", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim"};
constexpr Field kWidthInFfnConfigFields[] = {"ffn_hidden_size"};
constexpr Field kExpertHiddenSizeFields[] = {"moe_latent_size", "moe_hidden_size", "routed_expert_hidden_size"};
constexpr Field kActivationFields[] = {"mlp_hidden_act", "hidden_act",      "hidden_activation", "activation_function",
                                       "dense_act_fn",   "activation_func", "ffn_act_fn"};

constexpr Field kDenseWidth[] = {"dense_intermediate_size", "intermediate_size_mlp", "prefix_dense_intermediate_size"};
constexpr Field kDenseLayers[] = {"n_routed_experts",      "first_k_dense_replace",
                                  "decoder_sparse_step",   "shared_expert_intermediate_size",
                                  "moe_layer_start_index", "moe_shared_expert_intermediate_size",
                                  "num_dense_layers"};
constexpr Field kSwitches[] = {"enable_moe_block", "is_moe"};

// Shared and empty experts, groups of experts, which layers have any, routers, drafts and attention.
constexpr Field kKnownOtherwise[] = {"n_shared_experts",
                                     "num_shared_experts",
                                     "num_shared_expert",
                                     "moe_num_shared_experts",
                                     "shared_experts_size",
                                     "shared_expert_intermediate_size",
                                     "shared_experts_intermediate_size",
                                     "moe_shared_expert_intermediate_size",
                                     "share_expert_dim",
                                     "share_expert_dims",
                                     "shared_expert_sink",
                                     "moe_shared_expert_overlap",
                                     "use_shared_expert_sigmoid",
                                     "zero_expert_num",
                                     "num_expert_group",
                                     "num_expert_groups",
                                     "num_experts_per_group",
                                     "num_expert_groups_per_tok",
                                     "expert_capacity",
                                     "expert_layer_period",
                                     "expert_layer_offset",
                                     "use_expert_bias",
                                     "norm_expert_weight",
                                     "expert_swiglu_limit_list",
                                     "share_expert_swiglu_limit_list",
                                     "num_redundant_experts",
                                     "ep_num_redundant_experts",
                                     "expert_dtype",
                                     "routed_experts_quant_method",
                                     "output_router_logits",
                                     "moe_capacity",
                                     "moe_normalize_expert_weights",
                                     "moe_renormalize",
                                     "moe_every_n_layers",
                                     "moe_gate_act"};
constexpr Field kKnownBeginnings[] = {"moe_router_", "router_",  "moe_layer", "mtp_",       "dspark_",
                                      "mova_",       "moe_aux_", "moe_z_",    "moe_token_", "moe_loss"};

template <std::size_t count>
bool has(const Field (&fields)[count], Field one) {
  return std::ranges::find(fields, one) != std::end(fields);
}

}  // namespace

const Meaning kHiddenSize{"the hidden size", "--hidden-size", kHiddenSizeFields, "or the top level"};
const Meaning kExperts{"the number of routed experts", "--num-experts", kExpertsFields,
                       "missing, null, 0 or 1: a dense model"};
const Meaning kTopK{"the experts a token goes to", "--top-k", kTopKFields, ""};
const Meaning kWidth{"the experts' width", "--intermediate-size", kWidthFields, ""};
const Meaning kSharedWidth{"the experts' width", "--intermediate-size", kSharedWidthFields,
                           "where dense layers have another name, or none"};
const Meaning kOlderWidth{"the experts' width", "--intermediate-size", kOlderWidthFields, ""};
const Meaning kWidthInFfnConfig{"the experts' width", "--intermediate-size", kWidthInFfnConfigFields,
                                "inside ffn_config alone"};
const Meaning kExpertHiddenSize{"the experts' own hidden size", "--expert-hidden-size", kExpertHiddenSizeFields,
                                "missing: the hidden size"};
const Meaning kActivation{"the activation", "--activation", kActivationFields, ""};

std::span<const Meaning* const> meanings() {
  static constexpr const Meaning* kAll[] = {&kHiddenSize,       &kExperts,          &kTopK,      &kWidth, &kSharedWidth,
                                            &kWidthInFfnConfig, &kExpertHiddenSize, &kActivation};
  return kAll;
}

std::span<const std::string_view> text_sections() {
  static constexpr Field kSections[] = {"text_config", "language_config", "llm_config"};
  return kSections;
}

std::span<const std::string_view> fields_of_dense_width() { return kDenseWidth; }
std::span<const std::string_view> fields_of_dense_layers() { return kDenseLayers; }
std::span<const std::string_view> fields_that_switch_experts() { return kSwitches; }

bool looks_like_experts(std::string_view field) {
  const bool looks = field.find("expert") != Field::npos || field.starts_with("moe_") || field.starts_with("num_moe");
  if (!looks || has(kKnownOtherwise, field)) return false;
  if (has(kDenseLayers, field) || has(kSwitches, field)) return false;
  if (std::ranges::any_of(kKnownBeginnings, [&](Field start) { return field.starts_with(start); })) return false;
  return std::ranges::none_of(
      meanings(), [&](const Meaning* one) { return std::ranges::find(one->fields, field) != one->fields.end(); });
}

}  // namespace expertile::model
