"""A layer as engines hand it over, and what it computes by the reference."""

from __future__ import annotations

from typing import Any

import moe_reference
import torch

TOKENS, TOP_K, EXPERTS, H, I = 9, 2, 4, 64, 32


def draw(*shape: int, seed: int = 0) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


class Layer:
    """One layer's tensors in bfloat16, or with weights of e4m3 and scales of a kind."""

    def __init__(self, device: str, has_gate: bool = True, scales: str = "", has_bias: bool = False) -> None:
        rows = 2 * I if has_gate else I
        dtype = torch.float8_e4m3fn if scales else torch.bfloat16
        # Sums of the first product are beyond the limits in use, and those of the second no larger than biases.
        self.w13 = draw(EXPERTS, rows, H).to(dtype).to(device)
        self.w2 = (0.05 * draw(EXPERTS, H, I)).to(dtype).to(device)
        self.hidden = draw(TOKENS, H).bfloat16().to(device)
        self.weights = torch.rand(TOKENS, TOP_K, generator=torch.Generator().manual_seed(1)).to(device)
        self.ids = torch.stack([torch.arange(TOKENS) % EXPERTS, (torch.arange(TOKENS) * 3 + 1) % EXPERTS], 1)
        self.ids = self.ids.to(torch.int32).to(device)
        self.biases: dict[str, Any] = {}
        if has_bias:
            self.biases = {"bias_13": draw(EXPERTS, rows).to(device), "bias_2": 4 * draw(EXPERTS, H).to(device)}
        self.scales = {name: value.to(device) for name, value in self._made(scales, rows).items()}
        if scales == "block":
            self.scales["block_shape"] = [16, 32]

    @staticmethod
    def _made(scales: str, rows: int) -> dict[str, Any]:
        def rand(*shape: int) -> Any:
            return 0.05 + torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))

        if scales == "block":
            return {"scale_13": rand(EXPERTS, rows // 16, H // 32), "scale_2": rand(EXPERTS, H // 16, I // 32)}
        if scales == "channel":
            return {"scale_13": rand(EXPERTS, rows), "scale_2": rand(EXPERTS, H)}
        if scales == "static":
            inputs = {"input_scale_13": torch.full((EXPERTS,), 0.01), "input_scale_2": torch.full((EXPERTS,), 0.5)}
            return {"scale_13": rand(EXPERTS), "scale_2": 2 * rand(EXPERTS), **inputs}
        return {}

    def wanted(self, **named: Any) -> Any:
        given = {"topk_weights": self.weights, "topk_ids": self.ids, "hidden_states": self.hidden, **named}
        return moe_reference.fused_moe(w13=self.w13, w2=self.w2, **self.biases, **self.scales, **given)


def check(found: Any, wanted: Any) -> None:
    assert found.shape == wanted.shape and found.dtype == wanted.dtype and torch.isfinite(found).all()
    assert (found.double() - wanted.double()).abs().max() <= 3e-2 * wanted.double().abs().max()
    assert wanted.abs().max() > 0
