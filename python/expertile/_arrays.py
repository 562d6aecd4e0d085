"""What a call needs of the library that its arrays come from: new arrays, and the current stream."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any, Callable, NamedTuple


class _Library(NamedTuple):
    """How arrays of one library are made. Shapes are tuples; a dtype is a name, "bfloat16"."""

    empty: Callable[[Any, tuple[int, ...], str], Any]  # like the first: on its device
    current_stream: Callable[[Any], int]  # of the array's GPU


# ---- PyTorch ---------------------------------------------------------------------------------------------------------


def _torch_empty(like: Any, shape: tuple[int, ...], dtype: str) -> Any:
    torch = sys.modules["torch"]
    return torch.empty(shape, dtype=getattr(torch, dtype), device=like.device)


def _torch_stream(like: Any) -> int:
    return int(sys.modules["torch"].cuda.current_stream(like.device).cuda_stream)


# ---- NumPy -----------------------------------------------------------------------------------------------------------


def _numpy_dtype(name: str) -> Any:
    import numpy

    if name != "bfloat16":
        return numpy.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        from expertile._core import InvalidArgument

        raise InvalidArgument(
            "out is None and C would be bfloat16, which NumPy has by ml_dtypes alone; install ml_dtypes, or give "
            "out_dtype='float32'"
        ) from None
    return numpy.dtype(ml_dtypes.bfloat16)


def _numpy_empty(like: Any, shape: tuple[int, ...], dtype: str) -> Any:
    import numpy

    return numpy.empty(shape, dtype=_numpy_dtype(dtype))


def _no_stream(like: Any) -> int:
    return 0


# ---- CuPy ------------------------------------------------------------------------------------------------------------


def _cupy_empty(like: Any, shape: tuple[int, ...], dtype: str) -> Any:
    cupy = sys.modules["cupy"]
    with cupy.cuda.Device(like.device.id):
        return cupy.empty(shape, dtype=_numpy_dtype(dtype))


def _cupy_stream(like: Any) -> int:
    cupy = sys.modules["cupy"]
    with cupy.cuda.Device(like.device.id):
        return int(cupy.cuda.get_current_stream().ptr)


# ---- JAX -------------------------------------------------------------------------------------------------------------
# Its arrays are waited for before and after, since it tells nobody its streams. A new C is written while nobody else has
# it.


def _jax_empty(like: Any, shape: tuple[int, ...], dtype: str) -> Any:
    jax = sys.modules["jax"]
    return jax.numpy.zeros(shape, dtype=dtype, device=next(iter(like.devices())))


_LIBRARIES = {
    "torch": _Library(_torch_empty, _torch_stream),
    "numpy": _Library(_numpy_empty, _no_stream),
    "cupy": _Library(_cupy_empty, _cupy_stream),
    "jax": _Library(_jax_empty, _no_stream),
    "jaxlib": _Library(_jax_empty, _no_stream),
}


def _library_of(array: Any) -> _Library:
    for base in type(array).__mro__:  # a torch.nn.Parameter or a class of the caller's
        found = _LIBRARIES.get(base.__module__.partition(".")[0])
        if found is not None:
            return found
    from expertile._core import InvalidArgument

    raise InvalidArgument(
        f"a is a {type(array).__module__}.{type(array).__qualname__}, of which no arrays can be made here; give out "
        "(and stream and workspace on a GPU)"
    )


# ---- what the extension calls ----------------------------------------------------------------------------------------


def empty(like: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """A new C."""
    return _library_of(like).empty(like, shape, dtype)


def workspace(like: Any, count: int) -> Any:
    """So many new bytes."""
    return _library_of(like).empty(like, (count,), "uint8")


def stream_of(like: Any, stream: Any) -> int:
    """The stream to run on: the one that was given, as an integer or an object of a library's, or the current one."""
    if stream is None:
        return _library_of(like).current_stream(like)
    for attribute in ("cuda_stream", "ptr"):  # PyTorch's, CuPy's
        stream = getattr(stream, attribute, stream)
    if isinstance(stream, int):
        return stream
    from expertile._core import InvalidArgument

    raise InvalidArgument(f"stream is a {type(stream).__qualname__}, it must be an integer or a PyTorch or CuPy stream")


def offer_nvrtc() -> None:
    """Loads the NVRTC of the packages that PyTorch, CuPy and JAX install, where there is one.

    The library opens NVRTC by its name, and finds what the process has loaded. Nothing is done twice.
    """
    global _has_offered
    if _has_offered:
        return
    _has_offered = True
    import ctypes
    import pathlib

    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or [] if spec is not None else []:
        # nvidia/cu13/lib/libnvrtc.so.13, nvidia/cuda_nvrtc/lib/libnvrtc.so.12
        for file in sorted(pathlib.Path(folder).glob("*/lib/libnvrtc.so.[0-9]*"), reverse=True):
            try:
                ctypes.CDLL(str(file), mode=ctypes.RTLD_LOCAL)
                return
            except OSError:
                continue


_has_offered = False


def gradient_is_enabled() -> bool:
    """Whether PyTorch, whose tensors are given, follows gradients now."""
    return bool(sys.modules["torch"].is_grad_enabled())


def grouped_gemm_with_gradient(arguments: dict[str, Any]) -> Any:
    """grouped_gemm where a or b requires a gradient: by the operator that PyTorch knows the formula of."""
    import expertile.torch

    return expertile.torch.grouped_gemm_with_gradient(**arguments)


def refuse_gradient(name: str) -> None:
    """Where PyTorch would have to know how fused_moe's output came about: no formula is known."""
    if sys.modules["torch"].is_grad_enabled():
        from expertile._core import Unsupported

        raise Unsupported(f"{name} requires a gradient, which fused_moe does not follow; call it under torch.no_grad()")
