"""PyTorch's operators: torch.ops.expertile.*, for CUDA graphs, torch.compile and autograd. Importing this registers them.

    torch.ops.expertile.grouped_gemm(a, b, seg_indptr, weight_indices, scale_a=None, scale_b=None, block_shape=None,
                                     out_dtype=None, top_k=2, hidden_size=0, tf32=False) -> Tensor
    torch.ops.expertile.grouped_gemm_out(..., out) -> ()
    torch.ops.expertile.fused_moe(hidden_states, w13, w2, topk_weights, topk_ids, scale_13=None, ...) -> Tensor
"""

from __future__ import annotations

from typing import Any, Optional, Sequence

import torch

from expertile import _core, _torch_layer

__all__ = ["grouped_gemm_with_gradient"]

_ARGUMENTS = (
    "Tensor a, Tensor b, Tensor seg_indptr, Tensor weight_indices, Tensor? scale_a=None, Tensor? scale_b=None, "
    "int[]? block_shape=None, {}int top_k=2, int hidden_size=0, bool tf32=False"
)
_FLOATS = (torch.float16, torch.bfloat16, torch.float32)

_library = torch.library.Library("expertile", "DEF")
_library.define("grouped_gemm(" + _ARGUMENTS.format("ScalarType? out_dtype=None, ") + ") -> Tensor")
_library.define("grouped_gemm_out(" + _ARGUMENTS.format("") + ", *, Tensor(a!) out) -> ()")
# Of backward alone: what reads offsets back is one operator, so that tracing need not know them.
_library.define(
    "grouped_gemm_weight_gradient(Tensor grad, Tensor a, Tensor b, Tensor seg_indptr, Tensor weight_indices) -> Tensor"
)

_torch_layer.register(_library)

# ---- on a device -----------------------------------------------------------------------------------------------------

_grouped_gemm = _core.grouped_gemm


def _run(
    a: torch.Tensor,
    b: torch.Tensor,
    seg_indptr: torch.Tensor,
    weight_indices: torch.Tensor,
    scale_a: Optional[torch.Tensor] = None,
    scale_b: Optional[torch.Tensor] = None,
    block_shape: Optional[Sequence[int]] = None,
    out_dtype: Optional[torch.dtype] = None,
    top_k: int = 2,
    hidden_size: int = 0,
    tf32: bool = False,
) -> torch.Tensor:
    return _grouped_gemm(
        a, b, seg_indptr, weight_indices, scale_a=scale_a, scale_b=scale_b, block_shape=block_shape,
        out_dtype=out_dtype, top_k=top_k, hidden_size=hidden_size, tf32=tf32, follow_gradient=False,
    )  # fmt: skip


def _run_out(
    a: torch.Tensor,
    b: torch.Tensor,
    seg_indptr: torch.Tensor,
    weight_indices: torch.Tensor,
    scale_a: Optional[torch.Tensor] = None,
    scale_b: Optional[torch.Tensor] = None,
    block_shape: Optional[Sequence[int]] = None,
    top_k: int = 2,
    hidden_size: int = 0,
    tf32: bool = False,
    *,
    out: torch.Tensor,
) -> None:
    # Below autograd: what requires a gradient is no concern here.
    _grouped_gemm(
        a, b, seg_indptr, weight_indices, scale_a=scale_a, scale_b=scale_b, block_shape=block_shape, out=out,
        top_k=top_k, hidden_size=hidden_size, tf32=tf32, follow_gradient=False,
    )  # fmt: skip


def _new_c(a: torch.Tensor, b: torch.Tensor, out_dtype: Optional[torch.dtype]) -> torch.Tensor:
    usual = a.dtype if a.dtype in _FLOATS else torch.bfloat16
    return a.new_empty((a.size(0), b.size(1)), dtype=out_dtype or usual)


for _key in ("CPU", "CUDA"):
    _library.impl("grouped_gemm", _run, _key)
    _library.impl("grouped_gemm_out", _run_out, _key)

# ---- of shapes alone -------------------------------------------------------------------------------------------------


@torch.library.register_fake("expertile::grouped_gemm", lib=_library)  # type: ignore[untyped-decorator]
def _fake(
    a: torch.Tensor,
    b: torch.Tensor,
    seg_indptr: torch.Tensor,
    weight_indices: torch.Tensor,
    scale_a: Optional[torch.Tensor] = None,
    scale_b: Optional[torch.Tensor] = None,
    block_shape: Optional[Sequence[int]] = None,
    out_dtype: Optional[torch.dtype] = None,
    top_k: int = 2,
    hidden_size: int = 0,
    tf32: bool = False,
) -> torch.Tensor:
    torch._check(a.dim() == 2, lambda: f"a is {list(a.shape)}, it must be [M, K]")
    torch._check(b.dim() == 3, lambda: f"b is {list(b.shape)}, it must be [E, N, K]")
    torch._check(
        a.shape[1] == b.shape[2],
        lambda: f"a is {list(a.shape)} and b {list(b.shape)}: their last dimensions, K, must agree",
    )
    return _new_c(a, b, out_dtype)


@torch.library.register_fake("expertile::grouped_gemm_out", lib=_library)  # type: ignore[untyped-decorator]
def _fake_out(*arguments: Any, **named: Any) -> None:
    return None


# ---- gradients -------------------------------------------------------------------------------------------------------
# Of C = A x B^T a group: dA = dC x B, the same product with weights of the other orientation, and dB = dC^T x A, whose
# sums are over a group's rows.


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    a, b, seg_indptr, weight_indices, scale_a, scale_b, block_shape, out_dtype, top_k, hidden_size, tf32 = inputs
    ctx.is_plain = scale_a is None and scale_b is None and block_shape is None and a.dtype == b.dtype
    ctx.dtypes = (a.dtype, b.dtype)
    ctx.top_k, ctx.tf32 = top_k, tf32
    ctx.save_for_backward(a, b, seg_indptr, weight_indices)


def _backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
    if not ctx.is_plain:
        raise _core.Unsupported(
            f"no gradient is known of a product with scales (a is {ctx.dtypes[0]}, b is {ctx.dtypes[1]}); "
            "it is known where both are float16, bfloat16 or float32 without a block_shape"
        )
    a, b, seg_indptr, weight_indices = ctx.saved_tensors
    grad = grad.to(a.dtype).contiguous()
    grad_a = grad_b = None
    if ctx.needs_gradient[0]:
        # [E, K, N]: the sums are over N. Rows outside every group have no gradient.
        turned = b.transpose(1, 2).contiguous()
        grad_a = torch.zeros_like(a, memory_format=torch.contiguous_format)
        torch.ops.expertile.grouped_gemm_out(
            grad, turned, seg_indptr, weight_indices, top_k=ctx.top_k, tf32=ctx.tf32, out=grad_a
        )
    if ctx.needs_gradient[1]:
        grad_b = torch.ops.expertile.grouped_gemm_weight_gradient(grad, a, b, seg_indptr, weight_indices)
    return (grad_a, grad_b) + (None,) * 9


def _weight_gradient(
    grad: torch.Tensor, a: torch.Tensor, b: torch.Tensor, seg_indptr: torch.Tensor, weight_indices: torch.Tensor
) -> torch.Tensor:
    """dB [E, N, K]: reads the offsets back, so it waits for the GPU, and no graph can capture it."""
    total = torch.zeros(b.shape, dtype=torch.float32, device=b.device)
    rows, experts = a.shape[0], b.shape[0]
    bounds = seg_indptr.tolist()
    for group, expert in enumerate(weight_indices.tolist()):
        begin, end = bounds[group], bounds[group + 1]
        # Groups that the product skips have no part in it.
        if not (0 <= expert < experts and 0 <= begin < end <= rows):
            continue
        total[expert] += (grad[begin:end].T @ a[begin:end]).to(torch.float32)
    return total.to(b.dtype)


for _key in ("CPU", "CUDA"):
    _library.impl("grouped_gemm_weight_gradient", _weight_gradient, _key)


@torch.library.register_fake("expertile::grouped_gemm_weight_gradient", lib=_library)  # type: ignore[untyped-decorator]
def _fake_weight_gradient(
    grad: torch.Tensor, a: torch.Tensor, b: torch.Tensor, seg_indptr: torch.Tensor, weight_indices: torch.Tensor
) -> torch.Tensor:
    return torch.empty_like(b, memory_format=torch.contiguous_format)


class _WithGradient(torch.autograd.Function):  # type: ignore[misc]
    """The operator below autograd, whose inputs are remembered for _backward."""

    @staticmethod
    def forward(ctx: Any, below: Any, *inputs: Any) -> torch.Tensor:
        output = _below_autograd(below, inputs)
        _setup_context(ctx, inputs, output)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        ctx.needs_gradient = ctx.needs_input_grad[1:]
        return (None, *_backward(ctx, grads[0]))


_OPERATOR = torch.ops.expertile.grouped_gemm.default
_BELOW = torch._C._after_ADInplaceOrView_keyset
_ON_A_DEVICE = (torch._C.DispatchKey.CPU, torch._C.DispatchKey.CUDA)
_known_keys: dict[int, bool] = {}  # by their bits: comparing keys takes longer than finding them


def _is_on_a_device(keys: Any) -> bool:
    """Whether a kernel of a device comes next below autograd: nothing traces or transforms the call."""
    bits = keys.raw_repr()
    known = _known_keys.get(bits)
    if known is None:
        known = _known_keys[bits] = (keys & _BELOW).highestPriorityTypeId() in _ON_A_DEVICE
    return known


def _below_autograd(below: Any, inputs: tuple[Any, ...]) -> Any:
    with torch._C._AutoDispatchBelowAutograd():
        return _OPERATOR.redispatch(below, *inputs)


def _with_autograd(
    keys: Any,
    a: torch.Tensor,
    b: torch.Tensor,
    seg_indptr: torch.Tensor,
    weight_indices: torch.Tensor,
    scale_a: Optional[torch.Tensor] = None,
    scale_b: Optional[torch.Tensor] = None,
    block_shape: Optional[Sequence[int]] = None,
    out_dtype: Optional[torch.dtype] = None,
    top_k: int = 2,
    hidden_size: int = 0,
    tf32: bool = False,
) -> Any:
    # What torch.library.register_autograd does, but where no gradient is asked for and the dispatcher would come to
    # _run next, that is called at once: each turn through the dispatcher takes Python 4 us.
    has_gradient = torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)
    if not has_gradient and _is_on_a_device(keys):
        return _grouped_gemm(
            a, b, seg_indptr, weight_indices, scale_a=scale_a, scale_b=scale_b, block_shape=block_shape,
            out_dtype=out_dtype, top_k=top_k, hidden_size=hidden_size, tf32=tf32, follow_gradient=False,
        )  # fmt: skip
    below = keys & _BELOW
    inputs = (a, b, seg_indptr, weight_indices, scale_a, scale_b, block_shape, out_dtype, top_k, hidden_size, tf32)
    if has_gradient:
        return _WithGradient.apply(below, *inputs)
    return _below_autograd(below, inputs)


_library.impl("grouped_gemm", _with_autograd, "Autograd", with_keyset=True)


def grouped_gemm_with_gradient(
    a: torch.Tensor,
    b: torch.Tensor,
    seg_indptr: torch.Tensor,
    weight_indices: torch.Tensor,
    *,
    scale_a: Optional[torch.Tensor] = None,
    scale_b: Optional[torch.Tensor] = None,
    block_shape: Optional[Sequence[int]] = None,
    out: Optional[torch.Tensor] = None,
    out_dtype: Any = None,
    top_k: Optional[int] = 2,
    hidden_size: Optional[int] = None,
    tf32: Optional[bool] = False,
    workspace: Optional[torch.Tensor] = None,
    stream: Any = None,
    config_dir: Any = None,
    follow_gradient: Optional[bool] = True,
) -> torch.Tensor:
    """What expertile.grouped_gemm does where a or b requires a gradient: the operator, or, under torch.no_grad(), the
    product alone."""
    named: dict[str, Any] = dict(
        scale_a=scale_a, scale_b=scale_b, block_shape=block_shape, top_k=2 if top_k is None else top_k,
        hidden_size=hidden_size or 0, tf32=bool(tf32),
    )  # fmt: skip
    if not torch.is_grad_enabled():
        return _grouped_gemm(
            a, b, seg_indptr, weight_indices, out=out, out_dtype=out_dtype, workspace=workspace, stream=stream,
            config_dir=config_dir, follow_gradient=False, **named,
        )  # fmt: skip
    for name, value in (("out", out), ("workspace", workspace), ("stream", stream), ("config_dir", config_dir)):
        if value is not None:
            raise _core.Unsupported(f"{name} is given, and a or b requires a gradient, which needs a new C on the "
                                    "current stream; leave it out, or call under torch.no_grad()")  # fmt: skip
    if isinstance(out_dtype, str):
        out_dtype = getattr(torch, out_dtype)
    return torch.ops.expertile.grouped_gemm(a, b, seg_indptr, weight_indices, out_dtype=out_dtype, **named)


# ---- torch.compile ---------------------------------------------------------------------------------------------------
# A compiled function that calls expertile.grouped_gemm gets the operator in its graph.


@torch.compiler.substitute_in_graph(_core.grouped_gemm, skip_signature_check=True)  # type: ignore[untyped-decorator]
def _in_graph(
    a: torch.Tensor, b: torch.Tensor, seg_indptr: torch.Tensor, weight_indices: torch.Tensor, **named: Any
) -> torch.Tensor:
    out = named.pop("out", None)
    for name in ("workspace", "stream", "config_dir"):
        assert named.pop(name, None) is None, name + " cannot be given in a compiled function"
    if out is None:
        return torch.ops.expertile.grouped_gemm(a, b, seg_indptr, weight_indices, **named)
    named.pop("out_dtype", None)
    torch.ops.expertile.grouped_gemm_out(a, b, seg_indptr, weight_indices, out=out, **named)
    return out
