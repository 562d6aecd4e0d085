"""The extension, as type checkers see it. Arrays are of PyTorch, NumPy, CuPy or JAX."""

import os
from typing import Any, Optional, Sequence, TypedDict, final

class Error(Exception): ...
class InvalidArgument(Error, ValueError): ...
class NotFound(Error, LookupError): ...
class Unsupported(Error, NotImplementedError): ...
class IoError(Error, OSError): ...
class InternalError(Error, RuntimeError): ...

class _Problem(TypedDict):
    experts: int
    n: int
    k: int
    dtype: str
    block_shape: Optional[tuple[int, int]]
    scales: str
    top_k: int
    hidden_size: int
    tf32: bool

class _Selection(TypedDict):
    match: str
    batch: int
    file: str
    wanted_file: str
    differs: str
    tile: str

@final
class GroupedGemm:
    def __new__(
        cls,
        experts: int,
        n: int,
        k: int,
        *,
        dtype: str = "bfloat16",
        block_shape: Optional[Sequence[int]] = None,
        scales: Optional[str] = None,
        top_k: int = 2,
        hidden_size: Optional[int] = None,
        tf32: bool = False,
        device: str = "auto",
        threads: int = 0,
        config_dir: Optional[str | os.PathLike[str]] = None,
        out_dtype: Any = None,
    ) -> GroupedGemm: ...
    def __call__(
        self,
        a: Any,
        b: Any,
        seg_indptr: Any,
        weight_indices: Any,
        *,
        scale_a: Any = None,
        scale_b: Any = None,
        out: Any = None,
        workspace: Any = None,
        stream: Any = None,
    ) -> Any: ...
    def workspace_bytes(self, rows: int, /) -> int: ...
    def selection(self, rows: int, /) -> _Selection: ...
    @property
    def problem(self) -> _Problem: ...
    @property
    def device(self) -> str: ...

def grouped_gemm(
    a: Any,
    b: Any,
    seg_indptr: Any,
    weight_indices: Any,
    *,
    scale_a: Any = None,
    scale_b: Any = None,
    block_shape: Optional[Sequence[int]] = None,
    out: Any = None,
    out_dtype: Any = None,
    top_k: Optional[int] = 2,
    hidden_size: Optional[int] = None,
    tf32: Optional[bool] = False,
    workspace: Any = None,
    stream: Any = None,
    config_dir: Optional[str | os.PathLike[str]] = None,
    follow_gradient: Optional[bool] = True,
) -> Any: ...
def grouped_gemm_masked(
    a: Any,
    b: Any,
    masked_m: Any,
    *,
    weight_indices: Any = None,
    expected_rows: Optional[int] = None,
    scale_a: Any = None,
    scale_b: Any = None,
    block_shape: Optional[Sequence[int]] = None,
    out: Any = None,
    out_dtype: Any = None,
    top_k: Optional[int] = 2,
    hidden_size: Optional[int] = None,
    tf32: Optional[bool] = False,
    workspace: Any = None,
    stream: Any = None,
    config_dir: Optional[str | os.PathLike[str]] = None,
) -> Any: ...
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
    block_shape: Optional[Sequence[int]] = None,
    dtype: Optional[str] = None,
    activation: Optional[str] = "silu",
    alpha: Optional[float] = None,
    limit: Optional[float] = None,
    gate_order: Optional[str] = "gate_first",
    apply_router_weight_on_input: Optional[bool] = False,
    expert_map: Any = None,
    shared_output: Any = None,
    out: Any = None,
    batch_invariant: Optional[bool] = False,
    tf32: Optional[bool] = False,
    workspace: Any = None,
    stream: Any = None,
    config_dir: Optional[str | os.PathLike[str]] = None,
) -> Any: ...
def tune(options: list[str], worker: list[str], events: Any, /) -> str: ...
def bench(options: list[str], events: Any, /) -> str: ...
def show(options: list[str], events: Any, /) -> str: ...
def command_line(arguments: list[str], /) -> int: ...
def version() -> str: ...
