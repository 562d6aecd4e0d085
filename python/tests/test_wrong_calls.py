"""Wrong calls from Python: what each answers, word for word. The page docs/python-errors.md is this table."""

from __future__ import annotations

import os
import pathlib
from typing import Any, Callable

import ml_dtypes
import numpy as np
import pytest
from conftest import make_product

import expertile

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "python-errors.md"
E4M3 = ml_dtypes.float8_e4m3fn


class Call:
    """A right call of float32, a [6, 8], b [3, 4, 8], whose arguments a wrong one replaces."""

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {
            "a": np.ones((6, 8), np.float32),
            "b": np.ones((3, 4, 8), np.float32),
            "seg_indptr": np.array([0, 2, 6]),
            "weight_indices": np.array([2, 0]),
        }

    def __call__(self, **changed: Any) -> Any:
        return expertile.grouped_gemm(**{**self.arguments, **changed})

    def masked(self, **changed: Any) -> Any:
        right = {"a": np.ones((3, 2, 8), np.float32), "b": self.arguments["b"], "masked_m": np.array([2, 0, 1], np.int32)}
        return expertile.grouped_gemm_masked(**{**right, **changed})

    def prepared(self, changed: dict[str, Any], **problem: Any) -> Any:
        gemm = expertile.GroupedGemm(**{"experts": 3, "n": 4, "k": 8, "dtype": "float32", "device": "cpu", **problem})
        return gemm(**{**self.arguments, **changed})


call = Call()
ones = np.ones
I8 = {"a": ones((6, 8), np.int8), "b": ones((3, 4, 8), np.int8)}
F8 = {"a": ones((6, 8), E4M3), "b": ones((3, 4, 8), E4M3)}
RIGHT_I8 = {"scale_a": ones(6, np.float32), "scale_b": ones((3, 4), np.float32)}


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


# what is wrong, the call, the exception, its line
TABLE: list[tuple[str, Callable[[], Any], type[BaseException], str]] = [
    ("`a=None`", lambda: call(a=None), expertile.InvalidArgument, "a is None, it must be an array [M, K]"),
    ("`b=None`", lambda: call(b=None), expertile.InvalidArgument, "b is None, it must be an array [E, N, K]"),
    ("a list for `a`", lambda: call(a=[[1.0]]), TypeError,
     "a is a list, it must be an array of PyTorch, NumPy, CuPy, JAX or DLPack"),
    ("a number for `weight_indices`", lambda: call(weight_indices=3), TypeError,
     "weight_indices is a int, it must be an array of PyTorch, NumPy, CuPy, JAX or DLPack"),
    ("`seg_indptr=None`", lambda: call(seg_indptr=None), expertile.InvalidArgument,
     "seg_indptr is None, it must be an array"),
    ("`a` of one dimension", lambda: call(a=ones(8, np.float32)), expertile.InvalidArgument,
     "a is [8], it must be [M, K]"),
    ("`b` of two dimensions", lambda: call(b=ones((12, 8), np.float32)), expertile.InvalidArgument,
     "b is [12, 8], it must be [E, N, K]"),
    ("K of `a` and `b` differ", lambda: call(a=ones((6, 7), np.float32)), expertile.InvalidArgument,
     "a is [6, 7] and b [3, 4, 8]: their last dimensions, K, must agree"),
    ("`a` of float64", lambda: call(a=ones((6, 8))), expertile.InvalidArgument,
     "a is something else and b is float32: no product has such operands; both the same float type, float8_e4m3fn, "
     "int8, or int8 weights with a in float16 or bfloat16"),
    ("`a` and `b` of different float types", lambda: call(a=ones((6, 8), np.float16)), expertile.InvalidArgument,
     "a is float16 and b is float32: no product has such operands; both the same float type, float8_e4m3fn, int8, or "
     "int8 weights with a in float16 or bfloat16"),
    ("`b` of e4m3 without a block shape", lambda: call(b=ones((3, 4, 8), E4M3)), expertile.InvalidArgument,
     "a is float32 and b is float8_e4m3fn: give block_shape, and a is quantised by the call, or a in float8_e4m3fn"),
    ("a block shape with float weights", lambda: call(block_shape=(4, 8), scale_b=ones((3, 1, 1), np.float32)),
     expertile.InvalidArgument,
     "a is float32 and b is float32 with a block_shape: b must be float8_e4m3fn or int8 then"),
    ("`a` whose columns are apart", lambda: call(a=ones((6, 16), np.float32)[:, ::2]), expertile.InvalidArgument,
     "a [6, 8] has a stride of 2 along its last dimension, it must be 1"),
    ("`a` whose rows are one row", lambda: call(a=np.broadcast_to(ones(8, np.float32), (6, 8))),
     expertile.InvalidArgument, "a [6, 8] has a stride of 0 from row to row, its rows must not overlap"),
    ("`a` from its last row to its first", lambda: call(a=ones((6, 8), np.float32)[::-1]), expertile.InvalidArgument,
     "a [6, 8] has a stride of -8 from row to row, its rows must not overlap"),
    ("`b` whose experts are apart", lambda: call(b=ones((6, 4, 8), np.float32)[::2]), expertile.InvalidArgument,
     "b [3, 4, 8] has a stride of 64 from expert to expert, it must be N times that of its rows, 32"),
    ("`weight_indices` of float32", lambda: call(weight_indices=ones(2, np.float32)), expertile.InvalidArgument,
     "weight_indices is float32, it must be int64"),
    ("`weight_indices` of two dimensions", lambda: call(weight_indices=np.zeros((1, 2), np.int64)),
     expertile.InvalidArgument, "weight_indices is [1, 2], it must have one dimension"),
    ("`seg_indptr` with gaps", lambda: call(seg_indptr=np.zeros(6, np.int64)[::2]), expertile.InvalidArgument,
     "seg_indptr [3] is strided, its elements must lie back to back"),
    ("an offset too few", lambda: call(seg_indptr=np.array([0, 6])), expertile.InvalidArgument,
     "seg_indptr is [2] and weight_indices [2]: there must be one offset more than groups"),
    ("offsets that decrease", lambda: call(seg_indptr=np.array([0, 4, 2])), expertile.InvalidArgument,
     "seg_indptr[2] is 2, it must not be less than seg_indptr[1] = 4"),
    ("offsets beyond `a`", lambda: call(seg_indptr=np.array([0, 2, 7])), expertile.InvalidArgument,
     "seg_indptr[2] is 7, A has only 6 rows"),
    ("a negative offset", lambda: call(seg_indptr=np.array([-1, 2, 6])), expertile.InvalidArgument,
     "seg_indptr[0] is -1, it must be 0 or more"),
    ("an expert that is not there", lambda: call(weight_indices=np.array([2, 3])), expertile.InvalidArgument,
     "weight_indices[1] is 3, it must be from 0 to 2"),
    ("an expert of -1", lambda: call(weight_indices=np.array([-1, 0])), expertile.InvalidArgument,
     "weight_indices[0] is -1, it must be from 0 to 2"),
    ("`out` of another shape", lambda: call(out=ones((6, 5), np.float32)), expertile.InvalidArgument,
     "C is [6, 5], the problem needs [6, 4]"),
    ("`out` of int8", lambda: call(out=ones((6, 4), np.int8)), expertile.InvalidArgument,
     "C cannot be int8, of this problem it can be bfloat16, float16, float32"),
    ("`out` of one dimension", lambda: call(out=ones(24, np.float32)), expertile.InvalidArgument,
     "out is [24], it must be [M, N]"),
    ("a read-only `out`", lambda: call(out=read_only(ones((6, 4), np.float32))), expertile.InvalidArgument,
     "out is read-only"),
    ("`out` and `out_dtype` differ", lambda: call(out=ones((6, 4), np.float32), out_dtype="float16"),
     expertile.InvalidArgument, "out is float32, out_dtype is float16"),
    ("`out_dtype` that no C has", lambda: call(out_dtype="float64"), expertile.InvalidArgument,
     "out_dtype is float64, it must be float16, bfloat16 or float32"),
    ("a scale that nothing takes", lambda: call(scale_a=ones(6, np.float32)), expertile.InvalidArgument,
     "scale_a is given, float32 with none scales takes none"),
    ("int8 without its scales", lambda: call(**I8), expertile.InvalidArgument,
     "scale_a is None, int8_w8a8 with per_token_channel scales needs [6]"),
    ("e4m3 without `scale_b`", lambda: call(**F8, scale_a=ones(3, np.float32)), expertile.InvalidArgument,
     "scale_b is None, fp8_w8a8 with per_tensor scales needs [3]"),
    ("`scale_b` of another shape", lambda: call(**I8, scale_a=ones(6, np.float32), scale_b=ones((4, 3), np.float32)),
     expertile.InvalidArgument, "scale_b is [4, 3], int8_w8a8 with per_token_channel scales needs [3, 4]"),
    ("`scale_a` of float16", lambda: call(**I8, **{**RIGHT_I8, "scale_a": ones(6, np.float16)}),
     expertile.InvalidArgument, "scale_a is float16, it must be float32"),
    ("`scale_b` turned round", lambda: call(**I8, **{**RIGHT_I8, "scale_b": ones((4, 3), np.float32).T}),
     expertile.InvalidArgument, "scale_b [3, 4] is strided, its elements must lie back to back"),
    ("block scales of another shape",
     lambda: call(**F8, block_shape=(4, 4), scale_a=ones((6, 2), np.float32), scale_b=ones((3, 2, 2), np.float32)),
     expertile.InvalidArgument, "scale_b is [3, 2, 2], fp8_w8a8 with block scales needs [3, 1, 2]"),
    ("a block shape of one number", lambda: call(**F8, block_shape=128), expertile.InvalidArgument,
     "block_shape is 128, it must be a pair of integers (n, k)"),
    ("a block shape of fractions", lambda: call(**F8, block_shape=(1.5, 2)), expertile.InvalidArgument,
     "block_shape is 1.5, it must be an integer"),
    ("a block shape of 0", lambda: call(**F8, block_shape=(0, 128)), expertile.InvalidArgument,
     "block_shape is (0, 128), it must be two numbers of at least 1"),
    ("`top_k` that is no number", lambda: call(top_k="two"), expertile.InvalidArgument,
     "top_k is two, it must be an integer"),
    ("`top_k` below 1", lambda: call(top_k=-2), expertile.InvalidArgument, "top_k is -2, it must be from 1 to 2147483648"),
    ("`tf32` that is no bool", lambda: call(tf32=1), expertile.InvalidArgument, "tf32 is 1, it must be True or False"),
    ("a stream on a CPU", lambda: call(stream=0), expertile.InvalidArgument, "stream is given, a CPU has none"),
    ("a `config_dir` that is no path", lambda: call(config_dir=3), expertile.InvalidArgument,
     "config_dir is 3, it must be a str or a path"),
    ("a name that is no argument", lambda: call(scale=1), TypeError,
     "grouped_gemm() has no argument 'scale'; its arguments are a, b, seg_indptr, weight_indices, scale_a, scale_b, "
     "block_shape, out, out_dtype, top_k, hidden_size, tf32, workspace, stream, config_dir, follow_gradient"),
    ("five arguments by place", lambda: expertile.grouped_gemm(*call.arguments.values(), None), TypeError,
     "grouped_gemm() takes 4 arguments by place, the others by name"),
    ("an argument twice", lambda: expertile.grouped_gemm(*call.arguments.values(), a=1), TypeError,
     "grouped_gemm() was given 'a' twice"),
    ("`seg_indptr` of int32 that ends behind `a`", lambda: call(seg_indptr=np.array([0, 2, 7], np.int32)),
     expertile.InvalidArgument, "seg_indptr_32[2] is 7, A has only 6 rows"),
    ("`seg_indptr` of uint8", lambda: call(seg_indptr=np.array([0, 2, 6], np.uint8)), expertile.InvalidArgument,
     "seg_indptr is uint8, it must be int64"),
    ("masked: `a` of two dimensions", lambda: call.masked(a=ones((6, 8), np.float32)), expertile.InvalidArgument,
     "a is [6, 8], it must be [E, max_m, K]"),
    ("masked: `a` whose groups are apart", lambda: call.masked(a=ones((6, 2, 8), np.float32)[::2]),
     expertile.InvalidArgument,
     "a [3, 2, 8] has a stride of 32 from group to group, it must be max_m times that of its rows, 16"),
    ("masked: `masked_m=None`", lambda: call.masked(masked_m=None), expertile.InvalidArgument,
     "masked_m is None, it must be an array"),
    ("masked: `masked_m` of int64", lambda: call.masked(masked_m=np.array([2, 0, 1])), expertile.InvalidArgument,
     "masked_m is int64, it must be int32"),
    ("masked: a count too few", lambda: call.masked(masked_m=np.array([2, 0], np.int32)), expertile.InvalidArgument,
     "masked_m is [2] and a [3, 2, 8]: there must be one count a group"),
    ("masked: a count above `max_m`", lambda: call.masked(masked_m=np.array([2, 0, 3], np.int32)),
     expertile.InvalidArgument, "masked_m[2] is 3, it must be from 0 to max_m = 2"),
    ("masked: a count below 0", lambda: call.masked(masked_m=np.array([2, -1, 1], np.int32)),
     expertile.InvalidArgument, "masked_m[1] is -1, it must be from 0 to max_m = 2"),
    ("masked: more groups than experts", lambda: call.masked(a=ones((4, 2, 8), np.float32),
     masked_m=np.zeros(4, np.int32)), expertile.InvalidArgument,
     "masked_m has 4 entries, without weight_indices group g is expert g of 3"),
    ("masked: an expert too few", lambda: call.masked(weight_indices=np.array([0, 1])), expertile.InvalidArgument,
     "masked_m is [3] and weight_indices [2]: there must be one expert a group"),
    ("masked: `expected_rows` below 0", lambda: call.masked(expected_rows=-1), expertile.InvalidArgument,
     "expected_rows is -1, it must be 0 or more"),
    ("masked: `out` of two dimensions", lambda: call.masked(out=ones((6, 4), np.float32)), expertile.InvalidArgument,
     "out is [6, 4], it must be [E, max_m, N]"),
    ("masked: int8 with `scale_a` of one dimension", lambda: call.masked(a=ones((3, 2, 8), np.int8), b=I8["b"],
     scale_a=ones(6, np.float32), scale_b=RIGHT_I8["scale_b"]), expertile.InvalidArgument,
     "scale_a is [6], int8_w8a8 with per_token_channel scales needs [3, 2]"),
    ("a prepared operation for other weights", lambda: call.prepared({}, n=5), expertile.InvalidArgument,
     "B is [12, 8], the problem needs [15, 8]"),
    ("a prepared operation of another dtype", lambda: call.prepared({}, dtype="float16"), expertile.InvalidArgument,
     "B is float32, dtype float16 needs float16"),
    ("a prepared operation for C of another type", lambda: call.prepared({"out": ones((6, 4), np.float32)},
     out_dtype="float16"), expertile.InvalidArgument, "C is float32, the operation was prepared for C in float16"),
    ("a workspace too small", lambda: call.prepared({"b": ones((3, 4, 8), E4M3), "scale_b": ones((3, 1, 1), np.float32),
     "workspace": ones(8, np.uint8)}, block_shape=(4, 8)), expertile.InvalidArgument,
     "workspace has 8 bytes, 6 rows of a need 72"),
    ("no experts", lambda: expertile.GroupedGemm(0, 4, 8, device="cpu"), expertile.InvalidArgument,
     "experts is 0, it must be from 1 to 2147483648"),
    ("a dtype that is not known", lambda: expertile.GroupedGemm(3, 4, 8, dtype="fp4", device="cpu"),
     expertile.InvalidArgument,
     "dtype 'fp4' is not known; choose float16, bfloat16, float32, fp8_w8a8, int8_w8a16 or int8_w8a8"),
    ("scales that are not known", lambda: expertile.GroupedGemm(3, 4, 8, scales="row", device="cpu"),
     expertile.InvalidArgument,
     "scales is row, choose one of none, per_tensor, per_token_channel, per_channel, block"),
    ("scales of another dtype", lambda: expertile.GroupedGemm(3, 4, 8, scales="per_tensor", device="cpu"),
     expertile.InvalidArgument, "scales 'per_tensor' do not fit dtype bfloat16 without a block_shape"),
    ("a device that is not known", lambda: expertile.GroupedGemm(3, 4, 8, device="tpu"), expertile.InvalidArgument,
     "device 'tpu' is not known; choose auto, cpu or cuda[:I]"),
    ("a problem without its sizes", lambda: expertile.GroupedGemm(3, device="cpu"), expertile.InvalidArgument,
     "n is 0, it must be from 1 to 2147483648"),
    ("rows that are no number", lambda: expertile.GroupedGemm(3, 4, 8, device="cpu").workspace_bytes("x"),
     expertile.InvalidArgument, "rows is x, it must be an integer"),
    ("rows below 0", lambda: expertile.GroupedGemm(3, 4, 8, device="cpu").selection(-1), expertile.InvalidArgument,
     "rows is -1, it must be from 0 to 2147483648"),
    ("an option of tuning that is not known", lambda: expertile.tune(hiden_size=64), expertile.InvalidArgument,
     "option 'hiden_size' is not known; did you mean hidden-size?"),
    ("an option of tuning that is an object", lambda: expertile.tune(hidden_size=object()), expertile.InvalidArgument,
     "hidden_size is a object, it must be a str, a number, a bool, a path or a list of these"),
    ("a model that is not there", lambda: expertile.tune(model="/nonexistent", device="cpu"), expertile.NotFound,
     "model '/nonexistent' is no directory, no config.json and no org/name"),
    ("a batch size of 0", lambda: expertile.show(batch_size=[0, 1], device="cpu"), expertile.InvalidArgument,
     "--batch-size '0' is not a size; give a whole number from 1 to 2147483648"),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=[row[0].replace("`", "") for row in TABLE])
def test_a_wrong_call_is_one_line(row: tuple[str, Callable[[], Any], type[BaseException], str]) -> None:
    _, wrong, exception, line = row
    with pytest.raises(exception) as raised:
        wrong()
    assert type(raised.value) is exception
    assert str(raised.value) == line


def test_a_refused_call_writes_nothing() -> None:
    out = np.full((6, 4), 7, np.float32)
    for changed in ({"seg_indptr": np.array([0, 2, 7])}, {"weight_indices": np.array([0, 3])}, {"scale_a": out}):
        with pytest.raises(expertile.Error):
            call(out=out, **changed)
    assert (out == 7).all()


def test_exceptions_are_of_pythons_classes_too() -> None:
    bases = {
        expertile.InvalidArgument: ValueError,
        expertile.NotFound: LookupError,
        expertile.Unsupported: NotImplementedError,
        expertile.IoError: OSError,
        expertile.InternalError: RuntimeError,
    }
    for error, base in bases.items():
        assert issubclass(error, expertile.Error) and issubclass(error, base)


def test_the_page_has_the_table() -> None:
    names = {error: f"`{error.__qualname__}`" for error in (TypeError, expertile.InvalidArgument, expertile.NotFound)}
    lines = [
        "# Errors in Python",
        "",
        "Wrong calls and what each raises, made by `python/tests/test_wrong_calls.py` from its own table. Calls are of",
        "`grouped_gemm` with float32, `a` [6, 8] and `b` [3, 4, 8], where a row says nothing else; masked ones of",
        "`grouped_gemm_masked` with `a` [3, 2, 8]. What the library itself refuses is in [c-errors.md](c-errors.md), too.",
        "",
        "| what is wrong | exception | its line |",
        "|---|---|---|",
    ]
    lines += [f"| {what} | {names[error]} | `{line}` |" for what, _, error, line in TABLE]
    text = "\n".join(lines) + "\n"
    if os.environ.get("EXPERTILE_WRITE_DOCS") == "1":
        PAGE.write_text(text)
    assert PAGE.read_text() == text, "run the test with EXPERTILE_WRITE_DOCS=1"


def test_a_product_after_all_this_is_right() -> None:
    product = make_product("float32", None, None)
    product.check(expertile.grouped_gemm(*product.arguments))
