"""NumPy's arrays on the CPU."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from conftest import BFLOAT16, CASES, Product, make_product

import expertile


def test_every_dtype_agrees_with_float64(product: Product) -> None:
    c = expertile.grouped_gemm(*product.arguments, **product.named)
    assert type(c) is np.ndarray
    product.check(c)


@pytest.mark.parametrize("seed", range(20))
def test_random_ragged_problems_agree(seed: int) -> None:
    random = np.random.default_rng(seed)
    case = CASES[seed % len(CASES)]
    n, k = (int(size) for size in random.integers(1, 200, 2))
    product = make_product(*case, seed=100 + seed, n=n, k=k)
    product.check(expertile.grouped_gemm(*product.arguments, **product.named))


def test_a_prepared_operation_gives_the_same_bits(product: Product) -> None:
    named = dict(product.named)
    c = expertile.grouped_gemm(*product.arguments, **named)
    block = named.pop("block_shape", None)
    dtype = {
        ("int8", "int8"): "int8_w8a8",
        ("float16", "int8"): "int8_w8a16",
        ("bfloat16", "int8"): "int8_w8a16",
        ("float8_e4m3fn", "float8_e4m3fn"): "fp8_w8a8",
    }.get((product.a.dtype.name, product.b.dtype.name), product.a.dtype.name)
    scales = "per_token_channel" if dtype == "fp8_w8a8" and named["scale_b"].ndim == 2 else None
    experts, n, k = product.b.shape
    gemm = expertile.GroupedGemm(experts, n, k, dtype=dtype, block_shape=block, scales=scales, device="cpu")
    again = gemm(*product.arguments, **named)
    assert np.array_equal(np.asarray(again)[product.rows], np.asarray(c)[product.rows])


def test_out_is_written_and_returned_and_other_rows_stay() -> None:
    product = make_product("float32", None, None)
    out = np.full(product.wanted.shape, 7, dtype=np.float32)
    c = expertile.grouped_gemm(*product.arguments, out=out)
    assert c is out
    product.check(out)
    assert (out[~product.rows] == 7).all()


def test_rows_may_be_apart() -> None:
    product = make_product("float32", None, None)
    rows, k = product.a.shape
    wide = np.zeros((rows, 2 * k), np.float32)
    wide[:, :k] = product.a
    out = np.zeros((rows, 300), np.float32)[:, :80]
    expertile.grouped_gemm(wide[:, :k], *product.arguments[1:], out=out)
    product.check(out)


def test_offsets_may_begin_above_0() -> None:
    product = make_product("bfloat16", None, None, seed=3)
    c = np.full(product.wanted.shape, 7, BFLOAT16)
    expertile.grouped_gemm(
        product.a, product.b, product.seg_indptr[2:], product.weight_indices[2:], out=c
    )
    first = product.seg_indptr[2]
    assert (c[:first] == 7).all()
    product.rows[:first] = False
    product.check(c)


@pytest.mark.parametrize("dtype", ["float16", "float32", BFLOAT16, np.float16, "bfloat16"])
def test_c_may_be_of_any_float_type(dtype: object) -> None:
    product = make_product("fp8_w8a8", "per_tensor", None)
    c = expertile.grouped_gemm(*product.arguments, **product.named, out_dtype=dtype)
    assert c.dtype == np.dtype(BFLOAT16 if dtype == "bfloat16" else dtype)
    product.check(c)


def test_an_operation_tells_what_it_is() -> None:
    gemm = expertile.GroupedGemm(4, 48, 64, dtype="fp8_w8a8", block_shape=(16, 32), top_k=3, device="cpu", threads=1)
    assert gemm.device == "cpu"
    assert gemm.problem == {
        "experts": 4, "n": 48, "k": 64, "dtype": "fp8_w8a8", "block_shape": (16, 32), "scales": "block", "top_k": 3,
        "hidden_size": 64, "tf32": False,
    }  # fmt: skip
    assert gemm.workspace_bytes(100) == 0
    assert expertile.GroupedGemm(4, 48, 64, dtype="float16", block_shape=(16, 32), device="cpu").workspace_bytes(9) > 0
    selection = gemm.selection(12)
    assert selection["match"] == "built_in"
    assert selection["tile"].startswith("BLOCK_SIZE_M=")
    assert selection["wanted_file"].endswith("E=4,N=48,K=64/grouped_gemm_config_64_fp8_w8a8_block16x32.json")


def test_arrays_are_not_kept() -> None:
    product = make_product("float32", None, None)
    a = product.a.copy()
    expertile.grouped_gemm(a, *product.arguments[1:])
    import sys

    gc.collect()
    assert sys.getrefcount(a) == 2


def test_threads_call_at_once() -> None:
    products = [make_product(*CASES[i % len(CASES)], seed=200 + i) for i in range(8)]
    failures: list[BaseException] = []

    def work(product: Product) -> None:
        try:
            for _ in range(20):
                product.check(expertile.grouped_gemm(*product.arguments, **product.named))
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(product,)) for product in products]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_the_version_is_the_librarys() -> None:
    assert expertile.__version__.count(".") == 2
