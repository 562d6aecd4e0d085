"""Which of the layer's activations a module's own function computes: its fields propose some, running it decides."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, Callable, Iterator, Optional

import torch

# How much two of the same activation may differ: a module may compute in float32 what is asked in float64.
_RELATIVE, _ABSOLUTE = 1e-4, 1e-6
LARGEST = 1000.0  # of a gate or an up that is tried, so of a limit that can be found
_ORDERS = ("gate_first", "interleaved", "up_first")


@dataclasses.dataclass(frozen=True)
class Gate:
    """An activation as expertile.fused_moe takes it. Of swiglu_oai limit is never None, which would mean 7 there."""

    activation: str
    gate_order: str = "gate_first"
    alpha: float = 1.702
    limit: Optional[float] = None

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """[..., 2I] to [..., I], or [..., I] to itself without a gate."""
        if self.activation == "relu2":
            return torch.relu(rows).square()
        gate, up = self._parts(rows)
        if self.limit is not None:
            gate, up = gate.clamp(max=self.limit), up.clamp(-self.limit, self.limit)
        if self.activation == "silu":
            return torch.nn.functional.silu(gate) * up
        if self.activation == "gelu_tanh":
            return torch.nn.functional.gelu(gate, approximate="tanh") * up
        return gate * torch.sigmoid(self.alpha * gate) * (up + 1)

    def _parts(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.gate_order == "interleaved":
            return rows[..., ::2], rows[..., 1::2]
        first, second = rows.chunk(2, dim=-1)
        return (first, second) if self.gate_order == "gate_first" else (second, first)


def _candidates(numbers: list[float]) -> Iterator[Gate]:
    for order in _ORDERS:
        for limit in (None, *numbers):
            yield Gate("silu", order, limit=limit)
            yield Gate("gelu_tanh", order, limit=limit)
        for alpha, limit in itertools.product(numbers, numbers):
            yield Gate("swiglu_oai", order, alpha, limit)


def _probe() -> torch.Tensor:
    """One row of pairs: every value beside every other, as gate and as up, beyond any limit that is in use."""
    values = torch.cat([torch.linspace(-24, 24, 97), torch.tensor([-LARGEST, -61.0, 57.0, LARGEST])]).double()
    return torch.cat([values.repeat_interleave(len(values)), values.roll(31).repeat(len(values))])[None]


def find(function: Callable[[torch.Tensor], Any], has_gate: bool, numbers: list[float]) -> Optional[Gate]:
    """The activation that function computes, in float64 on the CPU. None: none of these, or it cannot be run there.

    numbers: what may be its alpha or its limit.
    """
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
        rows = _probe()
        try:
            found = function(rows.clone())
        except Exception:  # whatever a module's own code raises: its activation stays unknown
            return None
        for gate in _candidates(numbers) if has_gate else [Gate("relu2")]:
            wanted = gate(rows)
            if found.shape == wanted.shape and torch.allclose(found.double(), wanted, _RELATIVE, _ABSOLUTE):
                return gate
    return None
