"""SGLang's runner core on expertile.fused_moe. Written against SGLang 0.5.23."""

from __future__ import annotations

import functools
import logging
from typing import Any, Optional

import torch
from sglang.srt.layers.moe.moe_runner.base import DispatchMoeRunnerCore
from sglang.srt.layers.moe.moe_runner.triton import TritonMoeQuantInfo
from sglang.srt.layers.moe.token_dispatcher.standard import StandardCombineInput
from sglang.srt.layers.moe.topk import TopKOutputChecker
from sglang.srt.layers.moe.utils import resolve_moe_runner_backend

import expertile
import expertile.torch  # registers the operators
from expertile.integrations import _scales

__all__ = ["ExpertileRunnerCore", "log_once", "run", "why_not"]


@functools.cache
def log_once(reason: str) -> None:
    logging.getLogger(__name__).warning("expertile leaves a layer to Triton: %s", reason)


# ---- what is known ---------------------------------------------------------------------------------------------------


def activation_arguments(config: Any) -> Optional[dict[str, Any]]:
    """A MoeRunnerConfig's activation as fused_moe's arguments. None: there are none."""
    has_clamp = config.gemm1_alpha is not None or config.gemm1_clamp_limit is not None
    if not config.is_gated:
        return {"activation": "relu2"} if config.activation == "relu2" and not has_clamp else None
    if config.activation == "gelu_tanh" and not has_clamp:
        return {"activation": "gelu_tanh"}
    if config.activation != "silu":
        return None
    if config.gemm1_alpha is not None and config.gemm1_clamp_limit is not None:
        return {
            "activation": "swiglu_oai",
            "alpha": config.gemm1_alpha,
            "limit": config.gemm1_clamp_limit,
            "gate_order": "interleaved" if config.gate_up_interleaved else "gate_first",
        }
    # A limit without alpha clamps what silu has made of the gate; the layer clamps the gate.
    return None if has_clamp else {"activation": "silu", "limit": config.swiglu_limit}


def _why_not_weights(info: Any, columns: int) -> Optional[str]:
    """What stands against weights and scales as they are."""
    if not isinstance(info, TritonMoeQuantInfo):
        return f"{type(info).__name__} is not known, TritonMoeQuantInfo is"
    kinds = ("use_mxfp8", "use_int8_w8a8", "use_int8_w8a16", "use_int4_w4a16")
    for kind in kinds:
        if getattr(info, kind):
            return f"{kind} is not known, float16, bfloat16, float32 and use_fp8_w8a8 are"
    if info.w13_weight.shape[2] != columns:
        return f"w13 has rows of {info.w13_weight.shape[2]} for {columns} columns; unset SGLANG_MOE_PADDING"
    if not info.use_fp8_w8a8 or info.block_shape is not None:
        return None
    has_inputs = info.a13_scale is not None and info.a2_scale is not None
    if info.per_channel_quant and (info.a13_scale is not None or info.a2_scale is not None):
        return "static scales of the input with scales of a channel are not known"
    if not info.per_channel_quant and not has_inputs:
        return "one scale for all tokens that is made by the call is not known; scales of a token or static ones are"
    return None


def why_not(dispatch_output: Any, quant_info: Any, config: Any, hooks: Any = None) -> Optional[str]:
    """Why the layer cannot run here. None: it can."""
    if not dispatch_output.format.is_standard():
        return f"tokens are dispatched as '{dispatch_output.format.value}', only 'standard' is known"
    if dispatch_output.hidden_states_scale is not None:
        return "tokens are dispatched quantised, the layer quantises them itself"
    routing = dispatch_output.topk_output
    if not TopKOutputChecker.format_is_standard(routing):
        return f"routing is a {type(routing).__name__}, only a StandardTopKOutput is known"
    if hooks is not None:
        return "LoRA's hooks need the products between the steps"
    if config.no_combine:
        return "no_combine needs the rows of each expert, the layer has their sum"
    if activation_arguments(config) is None:
        return (
            f"activation '{config.activation}' (is_gated={config.is_gated}, gemm1_alpha={config.gemm1_alpha}, "
            f"gemm1_clamp_limit={config.gemm1_clamp_limit}) is not known; silu, with swiglu_limit or with gemm1_alpha "
            "and gemm1_clamp_limit, gelu_tanh, and relu2 without a gate are"
        )
    return _why_not_weights(quant_info, dispatch_output.hidden_states.shape[1])


# ---- the call --------------------------------------------------------------------------------------------------------


def _scale_arguments(info: Any) -> dict[str, Any]:
    if not info.use_fp8_w8a8:
        return {}
    if info.block_shape is not None:
        return {
            "scale_13": info.w13_scale.contiguous(),
            "scale_2": info.w2_scale.contiguous(),
            "block_shape": info.block_shape,
        }
    w13, w2 = info.w13_weight, info.w2_weight
    if info.per_channel_quant:
        return {
            "scale_13": _scales.of_channels("w13_scale", info.w13_scale, w13),
            "scale_2": _scales.of_channels("w2_scale", info.w2_scale, w2),
        }
    return {
        "scale_13": _scales.of_experts("w13_scale", info.w13_scale, w13),
        "scale_2": _scales.of_experts("w2_scale", info.w2_scale, w2),
        "input_scale_13": _scales.of_experts("a13_scale", info.a13_scale, w13),
        "input_scale_2": _scales.of_experts("a2_scale", info.a2_scale, w2),
    }


def run(dispatch_output: Any, quant_info: Any, config: Any) -> Any:
    """The layer, in the place of its input where config.inplace says so. why_not must have found nothing."""
    hidden_states, routing = dispatch_output.hidden_states, dispatch_output.topk_output
    weights, factor = routing.topk_weights.to(torch.float32), config.routed_scaling_factor
    is_on_input = config.apply_router_weight_on_input
    if factor is not None and not is_on_input:
        weights = weights * factor
    activation = activation_arguments(config) or {}
    if quant_info.fuse_swiglu_interleaved:  # loaded so, for the epilogue of Triton's product
        activation["gate_order"] = "interleaved"
    out = expertile.fused_moe(
        hidden_states,
        quant_info.w13_weight,
        quant_info.w2_weight,
        weights,
        routing.topk_ids,
        bias_13=quant_info.b13,
        bias_2=quant_info.b2,
        apply_router_weight_on_input=is_on_input,
        out=hidden_states if config.inplace else None,
        **_scale_arguments(quant_info),
        **activation,
    )
    if factor is not None and is_on_input:
        out *= factor
    return StandardCombineInput(hidden_states=out)


class ExpertileRunnerCore(DispatchMoeRunnerCore):  # type: ignore[misc]
    """A layer that cannot run here raises expertile.Unsupported with the reason."""

    @property
    def runner_backend(self) -> Any:
        return resolve_moe_runner_backend("expertile")

    def run_from_dispatch(self, dispatch_output: Any, quant_info: Any, runner_config: Any, hooks: Any = None) -> Any:
        reason = why_not(dispatch_output, quant_info, runner_config, hooks)
        if reason is not None:
            raise expertile.Unsupported(reason)
        return run(dispatch_output, quant_info, runner_config)
