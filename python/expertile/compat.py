"""Functions with the arguments and meanings of others, so that replacing an import is the whole change.

    grouped_gemm_triton    SGLang's (sglang.srt.layers.moe.ep_moe.kernels)
    grouped_mm             PyTorch's (torch.nn.functional.grouped_mm), for a 2-D times a 3-D tensor
"""

from __future__ import annotations

from typing import Any, Optional, Sequence

import torch

import expertile.torch  # registers what gradients and torch.compile need
from expertile import _core

__all__ = ["grouped_gemm_triton", "grouped_mm"]


def _invalid(line: str) -> _core.InvalidArgument:
    return _core.InvalidArgument(line)


def grouped_gemm_triton(
    a: torch.Tensor,
    b: torch.Tensor,
    c: Optional[torch.Tensor],
    batch_size: int,
    weight_column_major: bool,
    seg_indptr: Optional[torch.Tensor] = None,
    weight_indices: Optional[torch.Tensor] = None,
    use_fp8_w8a8: bool = False,
    scale_a: Optional[torch.Tensor] = None,
    scale_b: Optional[torch.Tensor] = None,
    block_shape: Optional[Sequence[int]] = None,
    c_dtype: Optional[torch.dtype] = None,
    use_per_token_if_dynamic: Optional[bool] = None,
) -> torch.Tensor:
    """SGLang's grouped_gemm_triton: C[r] = a[r] x b[weight_indices[g]]^T for the rows r of segment g.

    a [M, K], b [E, N, K], c [M, N] or None (then c_dtype says of what type it is made). batch_size: the number of
    segments; seg_indptr [batch_size + 1 or more] may begin above 0. weight_column_major: b is [E, N, K], so True.

    use_fp8_w8a8 without a block_shape: scale_a and scale_b by the weights' index [E]; scale_a by row [M] with
    use_per_token_if_dynamic=True, or, where that is None, if it has M entries and not E. With a block_shape (n, k): a
    of 16 bits is quantised by the call (its scale_a is not read), a of float8_e4m3fn comes with scale_a [M, ceil(K/k)];
    scale_b [E, ceil(N/n), ceil(K/k)], with any strides (those that are not row by row are copied).
    """
    if weight_column_major is not True:
        raise _invalid(f"weight_column_major is {weight_column_major}, it must be True: b is [E, N, K]")
    if seg_indptr is None or weight_indices is None:
        name = "seg_indptr" if seg_indptr is None else "weight_indices"
        raise _invalid(f"{name} is None, it must be a tensor of int64")
    if c is None:
        if c_dtype is None:
            raise _invalid("c and c_dtype are None: give either")
        c = torch.empty((a.shape[0], b.shape[1]), dtype=c_dtype, device=a.device)
    if block_shape is not None and a.dtype in (torch.float16, torch.bfloat16, torch.float32):
        scale_a = None
    elif use_fp8_w8a8 and block_shape is None:
        if scale_a is None or scale_b is None:
            name = "scale_a" if scale_a is None else "scale_b"
            raise _invalid(f"{name} is None, use_fp8_w8a8 without a block_shape needs it")
        scale_a, scale_b = scale_a.reshape(-1), scale_b.reshape(-1)
        is_by_row = use_per_token_if_dynamic
        if is_by_row is None:
            is_by_row = scale_a.shape[0] != b.shape[0] and scale_a.shape[0] == a.shape[0]
        if is_by_row:
            scale_b = scale_b[:, None].expand(b.shape[0], b.shape[1])
    elif not use_fp8_w8a8 and block_shape is None:
        scale_a = scale_b = None  # not read there either
    return _core.grouped_gemm(
        a,
        b,
        seg_indptr[: batch_size + 1],
        weight_indices[:batch_size],
        scale_a=None if scale_a is None else scale_a.contiguous(),
        scale_b=None if scale_b is None else scale_b.contiguous(),
        block_shape=block_shape,
        out=c,
    )


def grouped_mm(
    mat_a: torch.Tensor,
    mat_b: torch.Tensor,
    *,
    offs: Optional[torch.Tensor] = None,
    bias: Optional[torch.Tensor] = None,
    out_dtype: Optional[torch.dtype] = None,
) -> torch.Tensor:
    """torch.nn.functional.grouped_mm for mat_a [M, K] and mat_b [G, K, N]: row r of group g times mat_b[g].

    offs [G] int32: where each group ends, none decreasing; rows behind the last are undefined. mat_b is used as it is
    where it is the transpose of contiguous weights [G, N, K], and is copied otherwise. Gradients as there.
    """
    if mat_a.dim() != 2 or mat_b.dim() != 3:
        raise _core.Unsupported(
            f"mat_a is {list(mat_a.shape)} and mat_b {list(mat_b.shape)}: [M, K] and [G, K, N] are multiplied here; "
            "torch.nn.functional.grouped_mm has the other forms"
        )
    if bias is not None:
        raise _core.Unsupported("bias is given, none is added here, as in PyTorch; add it to the result")
    groups = mat_b.shape[0]
    if offs is None or offs.dtype != torch.int32 or list(offs.shape) != [groups]:
        found = "None" if offs is None else f"{list(offs.shape)} of {offs.dtype}"
        raise _invalid(f"offs is {found}, it must be [{groups}] of torch.int32, the groups' ends")
    seg_indptr = torch.nn.functional.pad(offs, (1, 0))
    # Made anew: one that is kept could be of a graph that was being captured.
    weight_indices = torch.arange(groups, dtype=torch.int64, device=mat_a.device)
    b = mat_b.transpose(-2, -1)
    if b.stride(-1) != 1 or b.stride(0) != b.shape[1] * b.stride(1):
        b = b.contiguous()
    named: dict[str, Any] = {} if out_dtype is None else {"out_dtype": out_dtype}
    return _core.grouped_gemm(mat_a, b, seg_indptr, weight_indices, **named)
