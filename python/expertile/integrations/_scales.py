"""Scales as engines keep them, as expertile.fused_moe takes them: float32, without dimensions of 1 behind."""

from __future__ import annotations

from typing import Any

import torch

import expertile


def _wrong(name: str, scale: Any, wanted: str) -> expertile.InvalidArgument:
    return expertile.InvalidArgument(f"{name} is {list(scale.shape)}, it must be {wanted}")


def of_channels(name: str, scale: Any, weights: Any) -> Any:
    """[E, N] of weights [E, N, K], from [E, N], [E, N, 1], or one an expert: [E], [E, 1], [E, 1, 1]."""
    experts, rows = weights.shape[:2]
    if scale.numel() == experts * rows:
        return scale.to(torch.float32).reshape(experts, rows)
    if scale.numel() == experts:
        return scale.to(torch.float32).reshape(experts, 1).expand(experts, rows).contiguous()
    raise _wrong(name, scale, f"[{experts}, {rows}], or [{experts}]")


def of_experts(name: str, scale: Any, weights: Any) -> Any:
    """[E], from one an expert or one for all of them."""
    experts = weights.shape[0]
    if scale.numel() not in (1, experts):
        raise _wrong(name, scale, f"[{experts}], or one number")
    return scale.to(torch.float32).reshape(-1).expand(experts).contiguous()
