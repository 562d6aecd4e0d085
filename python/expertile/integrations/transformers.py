"""experts_implementation="expertile" of Hugging Face transformers. Importing this registers it.

    import expertile.integrations.transformers
    model = AutoModelForCausalLM.from_pretrained(name, experts_implementation="expertile")

Every model whose experts have transformers' interface runs, where its activation is one of expertile.fused_moe's. The
weights are used as the model has them. Those that lie the other way round ([E, H, 2I], as in gpt-oss) are turned round
in memory at the first call, once, and keep their shape. See docs/engines.md.
"""

from __future__ import annotations

import ctypes
import dataclasses
from typing import Any, Optional

import torch

import expertile
import expertile.torch  # registers the operator that compiled functions call
from expertile.integrations import _gates

__all__ = ["NAME", "experts_forward", "fp8_experts_forward", "register"]

NAME = "expertile"
_INSTEAD = 'choose another experts_implementation, such as "grouped_mm"'
_READS_REGISTRY = (5, 7)  # the first version that looks an implementation's name up among those that are registered


def register() -> None:
    """Adds "expertile" to transformers' experts functions, and to those of its own fp8 experts. Again is no error."""
    import transformers

    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    if version < _READS_REGISTRY:
        raise expertile.Unsupported(
            f"transformers is {transformers.__version__}, 5.7 or newer is needed: "
            "older ones know their own experts alone"
        )
    from transformers.integrations import finegrained_fp8, moe

    moe.ExpertsInterface.register(NAME, experts_forward)
    finegrained_fp8.FP8ExpertsInterface.register(NAME, fp8_experts_forward)


# ---- what a module computes ------------------------------------------------------------------------------------------


def _numbers(module: Any) -> list[float]:
    """What may be an activation's alpha or limit: classes and versions call these as they like."""
    numbers = {float(value) for value in vars(module).values() if type(value) in (int, float)}
    return sorted(number for number in numbers if 0 < number <= _gates.LARGEST)


def _activation_of(module: Any) -> str:
    """What an error calls a module's activation."""
    default = getattr(type(module), "_apply_gate", None)
    if module.has_gate and getattr(default, "__name__", "") != "_default_apply_gate":
        return f"{type(module).__name__}._apply_gate"
    act_fn = getattr(module, "act_fn", None)
    return getattr(act_fn, "__name__", type(act_fn).__name__)


def _find_gate(module: Any) -> _gates.Gate:
    name = type(module).__name__
    if getattr(module, "has_post_expert_norm", False):
        raise expertile.Unsupported(
            f"{name} has a norm after each expert, before the router's weight, which the layer has not; {_INSTEAD}"
        )
    function = module._apply_gate if module.has_gate else module.act_fn
    gate = _gates.find(function, module.has_gate, _numbers(module))
    if gate is None:
        known = "silu, gelu_tanh and swiglu_oai, with and without a clamp" if module.has_gate else "relu2"
        how = "with" if module.has_gate else "without"
        raise expertile.Unsupported(
            f"{name}: activation '{_activation_of(module)}' is not known, "
            f"{how} a gate the layer has {known}; {_INSTEAD}"
        )
    return gate


# While a graph is traced this runs as it is, and what it returns is a constant of the graph. PyTorch 2.11 takes no
# module as an argument then, but its address, which stays its own for as long as the call that is traced.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _gate_at(address: int) -> tuple[str, str, float, Optional[float]]:
    """activation, gate_order, alpha and limit of the module there, found at its first call and kept by it."""
    module = ctypes.cast(address, ctypes.py_object).value
    gate: Optional[tuple[str, str, float, Optional[float]]] = module.__dict__.get("_expertile_gate")
    if gate is None:
        gate = module.__dict__["_expertile_gate"] = dataclasses.astuple(_find_gate(module))
    return gate


# ---- its weights -----------------------------------------------------------------------------------------------------


def _is_recorded() -> bool:
    """Whether the call becomes part of a graph: memory that it moves would be moved at every replay, or never."""
    if torch.compiler.is_compiling():
        return True
    return bool(torch.cuda.is_available() and torch.cuda.is_current_stream_capturing())


def _as_stored(weights: Any, is_transposed: bool) -> Any:
    """[E, N, K], row by row. A parameter [E, K, N] is turned round in its memory, and keeps its shape."""
    if not is_transposed:
        return weights
    turned = weights.transpose(1, 2)
    if turned.is_contiguous():
        return turned
    if _is_recorded() or not isinstance(weights, torch.nn.Parameter):
        return turned.contiguous()
    with torch.inference_mode(weights.is_inference()), torch.no_grad():
        weights.data = weights.data.transpose(1, 2).contiguous().transpose(1, 2)
    return weights.transpose(1, 2)


def _refuse_gradient(*tensors: Any) -> None:
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors):
        raise expertile.Unsupported(
            "the hidden states or the experts' weights require a gradient, which the layer does not follow; call the "
            f"model within torch.no_grad(), or to train {_INSTEAD}"
        )


def _run(module: Any, hidden_states: Any, top_k_index: Any, top_k_weights: Any, **named: Any) -> Any:
    """The call itself. Ids from num_experts on are experts of other ranks, and are skipped."""
    prefix = "gate_up_proj" if module.has_gate else "up_proj"
    w13 = _as_stored(getattr(module, prefix), module.is_transposed)
    w2 = _as_stored(module.down_proj, module.is_transposed)
    if module.has_bias:
        named.update(bias_13=getattr(module, f"{prefix}_bias"), bias_2=module.down_proj_bias)
    _refuse_gradient(hidden_states, top_k_weights, w13, w2)
    is_quantized = w13.dtype.itemsize == 1
    activation, gate_order, alpha, limit = _gate_at(id(module))
    tokens = hidden_states.reshape(-1, hidden_states.shape[-1])
    # Experts of other ranks have the first number that is none here; on a CPU the layer takes it for a mistake.
    ids = top_k_index.reshape(len(tokens), -1)
    ids = ids.masked_fill(ids >= len(w13), -1)
    out = _fused_moe()(
        # Under autocast the states may be wider than the weights.
        tokens if is_quantized else tokens.to(w13.dtype),
        w13,
        w2,
        top_k_weights.reshape(len(tokens), -1).to(torch.float32),
        ids,
        activation=activation,
        gate_order=gate_order,
        alpha=alpha,
        limit=limit,
        **named,
    )
    return out.to(hidden_states.dtype).reshape(hidden_states.shape)


def _fused_moe() -> Any:
    if not torch.compiler.is_compiling():
        return expertile.fused_moe
    return torch.ops.expertile.fused_moe


def experts_forward(self: Any, hidden_states: Any, top_k_index: Any, top_k_weights: Any) -> Any:
    """The experts of one layer: hidden_states [T, H], top_k_index and top_k_weights [T, top_k] -> [T, H].

    Raises expertile.Unsupported where the module's activation is not known, where a norm follows each expert, and where
    a gradient is asked for.
    """
    return _run(self, hidden_states, top_k_index, top_k_weights)


def fp8_experts_forward(self: Any, hidden_states: Any, top_k_index: Any, top_k_weights: Any) -> Any:
    """The same of transformers' FP8Experts: e4m3 weights with float32 scales of blocks, or one an expert and static."""
    prefix = "gate_up_proj" if self.has_gate else "up_proj"
    named = _scales_of(self, prefix) if getattr(self, prefix).dtype.itemsize == 1 else {}
    return _run(self, hidden_states, top_k_index, top_k_weights, **named)


def _scales_of(module: Any, prefix: str) -> dict[str, Any]:
    scale_13, scale_2 = getattr(module, f"{prefix}_scale_inv"), module.down_proj_scale_inv
    weights, scheme = getattr(module, prefix), module.activation_scheme
    is_static, has_blocks = scheme == "static", module.block_size is not None
    is_known = weights.dtype == torch.float8_e4m3fn and scale_13.dtype == torch.float32
    if not is_known or is_static == has_blocks:
        raise expertile.Unsupported(
            f"{type(module).__name__} has weights of {weights.dtype} with scales of {scale_13.dtype}, block_size "
            f"{module.block_size} and {scheme} activations; the layer has float8_e4m3fn with float32 scales, of blocks "
            f"and dynamic, or one an expert and static; {_INSTEAD}"
        )
    if not is_static:
        return {"scale_13": scale_13, "scale_2": scale_2, "block_shape": list(module.block_size)}
    return {
        "scale_13": scale_13.reshape(-1),
        "scale_2": scale_2.reshape(-1),
        "input_scale_13": getattr(module, f"{prefix}_activation_scale"),
        "input_scale_2": module.down_proj_activation_scale,
    }


register()
