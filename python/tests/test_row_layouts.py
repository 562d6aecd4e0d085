"""Masked groups, and offsets of int32, in NumPy's arrays on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import Product, check_masked, make_product, masked_arguments

import expertile


def test_every_dtype_agrees_with_float64_in_masks(product: Product) -> None:
    named, rows = masked_arguments(product)
    c = expertile.grouped_gemm_masked(**named)
    assert type(c) is np.ndarray and c.shape == (*rows.shape, product.b.shape[1])
    check_masked(product, c, rows)


def test_every_dtype_gives_the_same_bits_with_offsets_of_int32(product: Product) -> None:
    c = expertile.grouped_gemm(*product.arguments, **product.named)
    short = product.seg_indptr.astype(np.int32)
    again = expertile.grouped_gemm(product.a, product.b, short, product.weight_indices, **product.named)
    assert np.array_equal(np.asarray(again)[product.rows], np.asarray(c)[product.rows])


def test_a_prepared_operation_takes_both_offsets() -> None:
    product = make_product("bfloat16", None, None)
    experts, n, k = product.b.shape
    gemm = expertile.GroupedGemm(experts, n, k, device="cpu")
    for dtype in (np.int64, np.int32, np.int64, np.int32):
        product.check(gemm(product.a, product.b, product.seg_indptr.astype(dtype), product.weight_indices))


def test_out_is_written_where_rows_are_and_nowhere_else() -> None:
    product = make_product("float32", None, None)
    named, rows = masked_arguments(product)
    out = np.full((*rows.shape, product.b.shape[1]), 7, np.float32)
    assert expertile.grouped_gemm_masked(**named, out=out, expected_rows=3) is out
    check_masked(product, out, rows)
    assert (out[~rows] == 7).all()


def test_without_weight_indices_a_group_is_its_expert() -> None:
    random = np.random.default_rng(5)
    a = random.standard_normal((3, 4, 16)).astype(np.float32)
    b = random.standard_normal((3, 8, 16)).astype(np.float32)
    c = expertile.grouped_gemm_masked(a, b, np.array([4, 0, 2], np.int32))
    assert np.allclose(c[0], a[0] @ b[0].T, atol=1e-5)
    assert np.allclose(c[2, :2], a[2, :2] @ b[2].T, atol=1e-5)


def test_rows_of_masks_may_be_apart() -> None:
    wide = np.ones((2, 3, 20), np.float32)
    out = np.zeros((2, 3, 9), np.float32)[:, :, :4]
    expertile.grouped_gemm_masked(wide[:, :, :8], np.ones((2, 4, 8), np.float32), np.array([3, 1], np.int32), out=out)
    assert (out[0] == 8).all() and (out[1, 0] == 8).all() and (out[1, 1:] == 0).all()


@pytest.mark.parametrize("expected_rows", [None, 0, 1, 100000])
def test_expected_rows_do_not_change_what_is_computed(expected_rows: int | None) -> None:
    product = make_product("fp8_w8a8", "block", (32, 64))
    named, rows = masked_arguments(product)
    check_masked(product, expertile.grouped_gemm_masked(**named, expected_rows=expected_rows), rows)
