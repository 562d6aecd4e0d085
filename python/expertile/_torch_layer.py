"""PyTorch's operator of the whole layer: torch.ops.expertile.fused_moe, which expertile.torch registers."""

from __future__ import annotations

from typing import Any

import torch

from expertile import _core

_SCHEMA = (
    "fused_moe(Tensor hidden_states, Tensor w13, Tensor w2, Tensor topk_weights, Tensor topk_ids, "
    "Tensor? scale_13=None, Tensor? scale_2=None, Tensor? input_scale_13=None, Tensor? input_scale_2=None, "
    "Tensor? bias_13=None, Tensor? bias_2=None, int[]? block_shape=None, str? dtype=None, str activation='silu', "
    "float? alpha=None, float? limit=None, str gate_order='gate_first', bool apply_router_weight_on_input=False, "
    "Tensor? expert_map=None, Tensor? shared_output=None, bool batch_invariant=False, bool tf32=False) -> Tensor"
)
_NAMES = tuple(part.split()[1].split("=")[0] for part in _SCHEMA[_SCHEMA.index("(") + 1 : _SCHEMA.index(")")].split(", "))


def _run(*given: Any, **named: Any) -> torch.Tensor:
    # Below autograd: what requires a gradient is no concern here.
    arguments = {**dict(zip(_NAMES, given)), **named}
    with torch.no_grad():
        tensors = [arguments.pop(name) for name in _NAMES[:5]]
        return _core.fused_moe(*tensors, **arguments)


def _fake(hidden_states: torch.Tensor, *given: Any, **named: Any) -> torch.Tensor:
    return torch.empty_like(hidden_states, memory_format=torch.contiguous_format)


def _backward(ctx: Any, grad: torch.Tensor) -> Any:
    raise _core.Unsupported("no gradient is known of fused_moe; call it under torch.no_grad()")


def register(library: Any) -> None:
    """Once, with the library that holds the package's operators."""
    library.define(_SCHEMA)
    for key in ("CPU", "CUDA"):
        library.impl("fused_moe", _run, key)
    torch.library.register_fake("expertile::fused_moe", _fake, lib=library)
    torch.library.register_autograd("expertile::fused_moe", _backward, lib=library)


@torch.compiler.substitute_in_graph(_core.fused_moe, skip_signature_check=True)  # type: ignore[untyped-decorator]
def _in_graph(*given: Any, **named: Any) -> torch.Tensor:
    for name in ("out", "workspace", "stream", "config_dir"):
        assert named.pop(name, None) is None, name + " cannot be given in a compiled function"
    return torch.ops.expertile.fused_moe(*given, **{name: value for name, value in named.items() if value is not None})
