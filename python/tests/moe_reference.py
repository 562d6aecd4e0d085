"""The MoE layer in plain PyTorch and float64, an expert at a time, with the arguments of expertile.fused_moe.

It shares no code with the library. Where the layer quantises its activations, so does this: to the same types with the
same scales, so that what differs is the order of sums and the rounding between the steps.
"""

from __future__ import annotations

from typing import Any, Optional

import torch


def _weights(weights: Any, scale: Any, block_shape: Any) -> Any:
    """[E, N, K] in float64, its scales multiplied in."""
    wide = weights.double()
    if scale is None:
        return wide
    scale = scale.double()
    if block_shape is None:
        return wide * scale.reshape(*scale.shape, *[1] * (3 - scale.dim()))
    scale = scale.repeat_interleave(block_shape[0], 1).repeat_interleave(block_shape[1], 2)
    return wide * scale[:, : wide.shape[1], : wide.shape[2]]


def _rounded(rows: Any, dtype: Any) -> Any:
    return rows.clamp(-448, 448).float().to(dtype).double()


def _quantised(rows: Any, dtype: Any, block_k: Optional[int], input_scale: Any) -> Any:
    """Rows [M, K] after quantising to e4m3: by the expert's scale, or each row's, or that of each block of a row."""
    if input_scale is not None:
        return _rounded(rows / input_scale, dtype) * input_scale
    parts = []
    for part in rows.split(block_k or rows.shape[1], dim=1):
        scale = (part.abs().amax(1, keepdim=True) / 448).clamp(min=1e-12)
        parts.append(_rounded(part / scale, dtype) * scale)
    return torch.cat(parts, 1)


def activate(rows: Any, activation: str, alpha: float, limit: Optional[float], gate_order: str) -> Any:
    """[M, 2I] to [M, I]; relu2 has no gate."""
    if activation == "relu2":
        return rows.clamp(min=0) ** 2
    half = rows.shape[1] // 2
    gate, up = {
        "gate_first": (rows[:, :half], rows[:, half:]),
        "up_first": (rows[:, half:], rows[:, :half]),
        "interleaved": (rows[:, 0::2], rows[:, 1::2]),
    }[gate_order]
    if limit is None and activation == "swiglu_oai":
        limit = 7.0
    if limit is not None:
        gate, up = gate.clamp(max=limit), up.clamp(min=-limit, max=limit)
    if activation == "silu":
        return gate / (1 + torch.exp(-gate)) * up
    if activation == "gelu_tanh":
        return 0.5 * gate * (1 + torch.tanh(0.7978845608028654 * (gate + 0.044715 * gate**3))) * up
    assert activation == "swiglu_oai", activation
    return gate / (1 + torch.exp(-alpha * gate)) * (up + 1)


def fused_moe(
    hidden_states: Any,
    w13: Any,
    w2: Any,
    topk_weights: Any,
    topk_ids: Any,
    *,
    scale_13: Any = None,
    scale_2: Any = None,
    input_scale_13: Any = None,
    input_scale_2: Any = None,
    bias_13: Any = None,
    bias_2: Any = None,
    block_shape: Any = None,
    activation: str = "silu",
    alpha: float = 1.702,
    limit: Optional[float] = None,
    gate_order: str = "gate_first",
    apply_router_weight_on_input: bool = False,
    expert_map: Any = None,
    shared_output: Any = None,
    out: Any = None,
    batch_invariant: bool = False,
    tf32: bool = False,
    workspace: Any = None,
    stream: Any = None,
    config_dir: Any = None,
) -> Any:
    """[T, H] of hidden_states' dtype: the sum over a token's experts that are here, and shared_output."""
    experts = w13.shape[0]
    rows, total = hidden_states.double(), torch.zeros_like(hidden_states, dtype=torch.float64)
    wide_13, wide_2 = _weights(w13, scale_13, block_shape), _weights(w2, scale_2, block_shape)
    quantises = w13.dtype == torch.float8_e4m3fn  # int8 weights are multiplied with 16-bit rows
    block_k = None if block_shape is None else block_shape[1]
    ids = topk_ids.long()
    if expert_map is not None:
        is_known = (ids >= 0) & (ids < len(expert_map))
        ids = torch.where(is_known, expert_map.long()[ids.clamp(0, len(expert_map) - 1)], -1)
    for expert in range(experts):
        tokens, slots = torch.nonzero(ids == expert, as_tuple=True)
        if len(tokens) == 0:
            continue
        weight = topk_weights[tokens, slots, None].double()
        a = rows[tokens] * weight if apply_router_weight_on_input else rows[tokens]
        if quantises:
            a = _quantised(a, w13.dtype, block_k, None if input_scale_13 is None else input_scale_13[expert].double())
        a = a @ wide_13[expert].T
        if bias_13 is not None:
            a = a + bias_13[expert].double()
        a = activate(a, activation, alpha, limit, gate_order)
        if quantises:
            a = _quantised(a, w2.dtype, block_k, None if input_scale_2 is None else input_scale_2[expert].double())
        c = a @ wide_2[expert].T
        if bias_2 is not None:
            c = c + bias_2[expert].double()
        total.index_add_(0, tokens, c if apply_router_weight_on_input else c * weight)
    if shared_output is not None:
        total += shared_output.double()
    total = total.to(hidden_states.dtype)
    return total if out is None else out.copy_(total)
