"""Configurations of tiny models of transformers, an architecture each, and models of them with drawn weights."""

from __future__ import annotations

from typing import Any

import torch
import transformers

VOCABULARY = 96
_COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_DEEPSEEK = {"kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}

# By transformers' name of the architecture: what it has beside _COMMON.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "mixtral": {"intermediate_size": 48, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8},
    "qwen3_moe": {
        "moe_intermediate_size": 24, "num_experts": 8, "num_experts_per_tok": 3, "decoder_sparse_step": 1,
        "head_dim": 8, "norm_topk_prob": True,
    },  # fmt: skip
    "deepseek_v3": {
        "moe_intermediate_size": 24, "n_routed_experts": 8, "num_local_experts": 8, "num_experts_per_tok": 2,
        "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1, "n_shared_experts": 1, "num_key_value_heads": 4,
        "intermediate_size": 48, **_DEEPSEEK,
    },  # fmt: skip
    "glm4_moe": {
        "moe_intermediate_size": 24, "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
        "first_k_dense_replace": 1, "n_shared_experts": 1, "head_dim": 8, "intermediate_size": 48,
    },  # fmt: skip
    # Biases, gate and up in turns, a clamp, and weights the other way round.
    "gpt_oss": {
        "intermediate_size": 40, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8, "swiglu_limit": 0.5
    },  # fmt: skip
    # Without a gate.
    "nemotron_h": {
        "layers_block_type": ["attention", "moe"], "n_routed_experts": 4, "num_experts_per_tok": 2, "head_dim": 8,
        "moe_intermediate_size": 24, "moe_shared_expert_intermediate_size": 24, "n_shared_experts": 1, "n_group": 1,
        "topk_group": 1, "intermediate_size": 48, "mlp_hidden_act": "relu2",
    },  # fmt: skip
    "olmoe": {"intermediate_size": 24, "num_experts": 8, "num_experts_per_tok": 2},
    "minimax_m2": {
        "intermediate_size": 24, "num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8, "rotary_dim": 8
    },  # fmt: skip
    "ernie4_5_moe": {
        "moe_intermediate_size": 24, "moe_num_experts": 4, "moe_k": 2, "moe_layer_start_index": 1,
        "intermediate_size": 48,
    },  # fmt: skip
    # gelu, approximated by tanh.
    "gemma4_text": {
        "intermediate_size": 24, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 24,
        "enable_moe_block": True, "head_dim": 8, "global_head_dim": 8, "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": VOCABULARY,
    },  # fmt: skip
}


def make_model(architecture: str, implementation: str, dtype: Any = torch.float32, device: str = "cpu") -> Any:
    """The model in eval mode, with weights that are the same for the same architecture and dtype."""
    named = {**_COMMON, **ARCHITECTURES[architecture]}
    if architecture == "nemotron_h":
        del named["num_hidden_layers"]  # it has as many as layers_block_type
    config = transformers.AutoConfig.for_model(architecture, **named)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config, experts_implementation=implementation).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.to(dtype).to(device)


def experts_of(model: Any) -> list[Any]:
    """The modules that the experts' interface runs."""
    return [module for module in model.modules() if hasattr(module, "has_gate") and hasattr(module, "down_proj")]
