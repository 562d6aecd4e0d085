"""The grouped GEMM of Mixture-of-Experts layers, on NVIDIA GPUs and CPUs.

    c = expertile.grouped_gemm(a, b, seg_indptr, weight_indices)

for arrays of PyTorch, NumPy, CuPy or JAX, without copies. See docs/python.md for the whole of it.
"""

from expertile._core import (
    Error,
    GroupedGemm,
    InternalError,
    InvalidArgument,
    IoError,
    NotFound,
    Unsupported,
    fused_moe,
    grouped_gemm,
    grouped_gemm_masked,
    version as _version,
)
from expertile._tuning import bench, show, tune

__version__: str = _version()
__all__ = [
    "Error",
    "GroupedGemm",
    "InternalError",
    "InvalidArgument",
    "IoError",
    "NotFound",
    "Unsupported",
    "bench",
    "fused_moe",
    "grouped_gemm",
    "grouped_gemm_masked",
    "show",
    "tune",
]
