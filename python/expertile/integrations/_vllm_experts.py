"""vLLM's FusedMoEExpertsModular on expertile.fused_moe, for both of its formats. Written against vLLM 0.33."""

from __future__ import annotations

from typing import Any, Optional

import torch
import vllm.model_executor.layers.fused_moe.modular_kernel as mk
from vllm import envs
from vllm.model_executor.layers.fused_moe.activation import MoEActivation
from vllm.model_executor.layers.fused_moe.topk_weight_and_reduce import (
    TopKWeightAndReduceDelegate,
    TopKWeightAndReduceNoOP,
)
from vllm.model_executor.layers.quantization.utils.quant_utils import (
    kFp8Dynamic128Sym,
    kFp8DynamicTokenSym,
    kFp8Static128BlockSym,
    kFp8StaticChannelSym,
    kFp8StaticTensorSym,
)
from vllm.platforms import current_platform

import expertile
import expertile.torch  # registers the operators
from expertile.integrations import _scales

__all__ = ["ExpertileBatchedExperts", "ExpertileExperts"]

# With the scales that expertile has: of blocks, of a token and a channel (or an expert), and static.
_FP8_SCHEMES = (
    (kFp8Static128BlockSym, kFp8Dynamic128Sym),
    (kFp8StaticChannelSym, kFp8DynamicTokenSym),
    (kFp8StaticTensorSym, kFp8DynamicTokenSym),
    (kFp8StaticTensorSym, kFp8StaticTensorSym),
)


def activation_arguments(
    activation: Any, limit: Optional[float], alpha: Optional[float], beta: Optional[float]
) -> dict[str, Any]:
    """An activation of vLLM's as fused_moe's arguments; raises expertile.Unsupported where there are none.

    limit, alpha and beta are vLLM's; where its own activation does not read them neither does this.
    """
    if activation is MoEActivation.SILU:
        return {"activation": "silu", "limit": limit}
    if activation is MoEActivation.GELU_TANH:
        return {"activation": "gelu_tanh"}
    if activation is MoEActivation.RELU2_NO_MUL:
        return {"activation": "relu2"}
    if activation is MoEActivation.SWIGLUOAI:  # its kernel has these two as they are here
        return {"activation": "swiglu_oai", "alpha": 1.702, "limit": 7.0, "gate_order": "interleaved"}
    if activation is MoEActivation.SWIGLUOAI_UNINTERLEAVE and limit is not None:
        # gate * sigmoid(alpha * gate) * (up + beta)
        if alpha is not None and beta == 1:
            return {"activation": "swiglu_oai", "alpha": alpha, "limit": limit}
        if alpha in (None, 1) and not beta:
            return {"activation": "silu", "limit": limit}
    raise expertile.Unsupported(
        f"activation '{activation.value}' with limit {limit}, alpha {alpha} and beta {beta} is not known; expertile "
        "has silu, gelu_tanh, swigluoai, swigluoai_uninterleave with a limit and beta 0 or 1, and relu2_no_mul"
    )


class _Experts(mk.FusedMoEExpertsModular):  # type: ignore[misc]
    """What both formats have in common."""

    @staticmethod
    def is_supported_config(
        cls: Any, moe_config: Any, weight_key: Any, activation_key: Any, activation_format: Any
    ) -> tuple[bool, Optional[str]]:
        supported, reason = mk.FusedMoEExperts.is_supported_config(
            cls, moe_config, weight_key, activation_key, activation_format
        )
        if not supported:
            return supported, reason
        try:
            activation_arguments(
                moe_config.activation, moe_config.swiglu_limit, moe_config.swiglu_alpha, moe_config.swiglu_beta
            )
        except expertile.Unsupported as error:
            return False, str(error)
        return True, None

    @staticmethod
    def _supports_current_device() -> bool:
        return bool(current_platform.is_cuda() and current_platform.has_device_capability((8, 0)))

    @staticmethod
    def _supports_no_act_and_mul() -> bool:
        return True

    @staticmethod
    def _supports_activation(activation: Any) -> bool:
        return activation in (
            MoEActivation.SILU,
            MoEActivation.GELU_TANH,
            MoEActivation.SWIGLUOAI,
            MoEActivation.SWIGLUOAI_UNINTERLEAVE,
            MoEActivation.RELU2_NO_MUL,
        )

    @staticmethod
    def _supports_batch_invariance() -> bool:
        return True

    def _refuse_hook(self) -> None:
        if self.post_gemm2_hook is not None:
            raise expertile.Unsupported(
                "post_gemm2_hook needs the rows of each expert, expertile has their sum; "
                "take expertile out of VLLM_PLUGINS"
            )

    def _common(self, activation: Any) -> dict[str, Any]:
        config = self.activation_config
        return {
            "bias_13": self.w1_bias,
            "bias_2": self.w2_bias,
            "batch_invariant": bool(envs.VLLM_BATCH_INVARIANT),
            **activation_arguments(activation, config.clamp_limit, config.alpha, config.beta),
        }


class ExpertileExperts(_Experts):
    """hidden_states [M, K] -> output [M, K], weighted and summed over top_k."""

    @staticmethod
    def activation_format() -> Any:
        return mk.FusedMoEActivationFormat.Standard

    @property
    def expects_unquantized_inputs(self) -> bool:
        return True  # the layer quantises, each token once

    @staticmethod
    def _supports_quant_scheme(weight_key: Any, activation_key: Any) -> bool:
        if weight_key is None and activation_key is None:
            return True
        return (weight_key, activation_key) in _FP8_SCHEMES and bool(current_platform.supports_fp8())

    @staticmethod
    def _supports_parallel_config(moe_parallel_config: Any) -> bool:
        # These hand over rows in an order of their own, or quantised ones whatever the experts ask for.
        return not (
            moe_parallel_config.use_fi_nvl_two_sided_kernels
            or moe_parallel_config.use_fi_nvl_one_sided_kernels
            or moe_parallel_config.use_passthrough_all2all
            or moe_parallel_config.use_moonep_kernels
        )

    def finalize_weight_and_reduce_impl(self) -> Any:
        return TopKWeightAndReduceNoOP()

    def workspace_shapes(
        self,
        M: int,
        N: int,
        K: int,
        topk: int,
        global_num_experts: int,
        local_num_experts: int,
        expert_tokens_meta: Any,
        activation: Any,
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        return (0,), (0,), (M, K)  # fused_moe has a workspace of its own, from PyTorch's allocator

    def apply(
        self,
        output: Any,
        hidden_states: Any,
        w1: Any,
        w2: Any,
        topk_weights: Any,
        topk_ids: Any,
        activation: Any,
        global_num_experts: int,
        expert_map: Any,
        a1q_scale: Any,
        a2_scale: Any,
        workspace13: Any,
        workspace2: Any,
        expert_tokens_meta: Any,
        apply_router_weight_on_input: bool,
    ) -> None:
        self._refuse_hook()
        weights = topk_weights.to(torch.float32)
        expertile.fused_moe(
            hidden_states,
            w1,
            w2,
            # Where they go on the input, vLLM has multiplied them in before.
            torch.ones_like(weights) if apply_router_weight_on_input else weights,
            topk_ids if topk_ids.dtype in (torch.int32, torch.int64) else topk_ids.to(torch.int32),
            expert_map=expert_map,
            out=output,
            **self._scale_arguments(w1, w2, a2_scale),
            **self._common(activation),
        )

    def _scale_arguments(self, w1: Any, w2: Any, a2_scale: Any) -> dict[str, Any]:
        if self.quant_dtype is None:
            return {}
        if self.block_shape is not None:
            return {"scale_13": self.w1_scale, "scale_2": self.w2_scale, "block_shape": self.block_shape}
        if self.per_act_token_quant:
            return {
                "scale_13": _scales.of_channels("w1_scale", self.w1_scale, w1),
                "scale_2": _scales.of_channels("w2_scale", self.w2_scale, w2),
            }
        return {
            "scale_13": _scales.of_experts("w1_scale", self.w1_scale, w1),
            "scale_2": _scales.of_experts("w2_scale", self.w2_scale, w2),
            "input_scale_13": _scales.of_experts("a1_scale", self.a1_scale, w1),
            "input_scale_2": _scales.of_experts("a2_scale", a2_scale, w2),
        }


class ExpertileBatchedExperts(_Experts):
    """hidden_states [E, max_tokens, K] -> output [E, max_tokens, K], neither weighted nor summed.

    Row t of expert e is a token whose one expert is e, as long as t is below expert_num_tokens[e]; the others are no
    expert's, and 0. The dispatchers of this format quantise before they send, so weights of 8 bits are not supported.
    """

    @staticmethod
    def activation_format() -> Any:
        return mk.FusedMoEActivationFormat.BatchedExperts

    @staticmethod
    def _supports_quant_scheme(weight_key: Any, activation_key: Any) -> bool:
        return weight_key is None and activation_key is None

    @staticmethod
    def _supports_parallel_config(moe_parallel_config: Any) -> bool:
        return True

    def finalize_weight_and_reduce_impl(self) -> Any:
        return TopKWeightAndReduceDelegate()  # the dispatcher knows how

    def workspace_shapes(
        self,
        M: int,
        N: int,
        K: int,
        topk: int,
        global_num_experts: int,
        local_num_experts: int,
        expert_tokens_meta: Any,
        activation: Any,
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        return (0,), (0,), (local_num_experts, self.max_num_tokens * self.num_dispatchers, K)

    def apply(
        self,
        output: Any,
        hidden_states: Any,
        w1: Any,
        w2: Any,
        topk_weights: Any,
        topk_ids: Any,
        activation: Any,
        global_num_experts: int,
        expert_map: Any,
        a1q_scale: Any,
        a2_scale: Any,
        workspace13: Any,
        workspace2: Any,
        expert_tokens_meta: Any,
        apply_router_weight_on_input: bool,
    ) -> None:
        self._refuse_hook()
        experts, slots, columns = hidden_states.shape
        device = hidden_states.device
        counts = expert_tokens_meta.expert_num_tokens[:experts]
        is_used = torch.arange(slots, device=device) < counts[:, None]
        own = torch.arange(experts, dtype=torch.int32, device=device)[:, None]
        expertile.fused_moe(
            hidden_states.view(-1, columns),
            w1,
            w2,
            torch.ones(experts * slots, 1, device=device),
            torch.where(is_used, own, -1).view(-1, 1),
            out=output.view(-1, columns),
            **self._common(activation),
        )
