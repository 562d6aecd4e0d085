"""CuPy's arrays, on a GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import BFLOAT16, E4M3, Product, make_product

import expertile

cupy = pytest.importorskip("cupy")


def has_gpu() -> bool:
    try:
        return cupy.cuda.runtime.getDeviceCount() > 0
    except cupy.cuda.runtime.CUDARuntimeError:
        return False


pytestmark = pytest.mark.skipif(not has_gpu(), reason="CuPy sees no GPU")


def to_cupy(array: np.ndarray) -> Any:
    if array.dtype in (BFLOAT16, E4M3):
        return cupy.asarray(array.view(f"u{array.itemsize}")).view(array.dtype)
    return cupy.asarray(array)


def placed(product: Product) -> tuple[list[Any], dict[str, Any]]:
    named = {name: to_cupy(value) if isinstance(value, np.ndarray) else value for name, value in product.named.items()}
    return [to_cupy(array) for array in product.arguments], named


def test_float_types_and_int8_agree_with_float64(product: Product) -> None:
    try:
        arrays, named = placed(product)
    except (TypeError, ValueError) as error:
        pytest.skip(f"CuPy has no such dtype: {error}")
    c = expertile.grouped_gemm(*arrays, **named, out_dtype="float32" if product.a.dtype == np.int8 else None)
    assert isinstance(c, cupy.ndarray)
    product.check(cupy.asnumpy(c.view(f"u{c.itemsize}")).view(BFLOAT16) if c.dtype == BFLOAT16 else cupy.asnumpy(c))


def test_work_on_a_side_stream_is_in_order() -> None:
    product = make_product("float16", None, None)
    arrays, _ = placed(product)
    with cupy.cuda.Stream(non_blocking=True) as stream:
        a = arrays[0] * 1
        c = expertile.grouped_gemm(a, *arrays[1:])
    stream.synchronize()
    product.check(cupy.asnumpy(c))


def test_arrays_of_the_host_among_the_gpus_are_refused() -> None:
    product = make_product("float16", None, None)
    arrays, _ = placed(product)
    with pytest.raises(expertile.InvalidArgument, match="^seg_indptr is on the CPU, it must be on cuda:0 like the op"):
        expertile.grouped_gemm(arrays[0], arrays[1], product.seg_indptr, arrays[3])
    with pytest.raises(expertile.InvalidArgument, match="^b is on the CPU, it must be on cuda:0 like the operation$"):
        expertile.grouped_gemm(arrays[0], product.b, *arrays[2:])
