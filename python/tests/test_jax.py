"""JAX's arrays, on whatever device JAX has."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Product, make_product

import expertile

jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)


def placed(product: Product) -> tuple[list[object], dict[str, object]]:
    arrays = [jax.numpy.asarray(array) for array in product.arguments]
    named = {
        name: jax.numpy.asarray(value) if isinstance(value, np.ndarray) else value
        for name, value in product.named.items()
    }
    return arrays, named


def test_every_dtype_agrees_with_float64(product: Product) -> None:
    arrays, named = placed(product)
    c = expertile.grouped_gemm(*arrays, **named)
    assert isinstance(c, jax.Array)
    product.check(c)


def test_results_feed_further_computation() -> None:
    product = make_product("float32", None, None)
    arrays, _ = placed(product)
    doubled = jax.jit(lambda x: 2 * x)(expertile.grouped_gemm(arrays[0] * 1, *arrays[1:]))
    product.check(np.asarray(doubled) / 2)


def test_an_array_of_jax_is_no_out() -> None:
    product = make_product("float32", None, None)
    arrays, _ = placed(product)
    with pytest.raises(expertile.InvalidArgument, match="^out is an array of JAX, which cannot be written$"):
        expertile.grouped_gemm(*arrays, out=jax.numpy.zeros(product.wanted.shape, "float32"))


def test_a_traced_array_is_refused() -> None:
    product = make_product("float32", None, None)
    arrays, _ = placed(product)
    with pytest.raises(jax.errors.ConcretizationTypeError, match="depends on the value of the argument a"):
        jax.jit(lambda a: expertile.grouped_gemm(a, *arrays[1:]))(arrays[0])
