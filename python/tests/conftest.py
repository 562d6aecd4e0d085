"""What the tests share: random ragged problems, and a plain reference that shares no code with the library."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from typing import Any, Optional

import ml_dtypes
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
E4M3 = np.dtype(ml_dtypes.float8_e4m3fn)


@dataclasses.dataclass
class Product:
    """The arguments of one call, in NumPy, and what it must give, in float64."""

    a: np.ndarray
    b: np.ndarray
    seg_indptr: np.ndarray
    weight_indices: np.ndarray
    named: dict[str, Any]
    wanted: np.ndarray
    magnitude: np.ndarray  # the same product of absolute values
    rows: np.ndarray  # that belong to a group
    bits: float  # relative error of one rounding of C, plus that of quantising a

    def check(self, c: Any) -> None:
        assert tuple(c.shape) == self.wanted.shape
        found = np.asarray(c)[self.rows].astype(np.float64)  # what others hold is undefined
        error = np.abs(found - self.wanted[self.rows])
        bound = self.bits * self.magnitude[self.rows] + 1e-6
        assert (error <= bound).all(), f"{(error / bound).max():.3g} times the bound"

    @property
    def arguments(self) -> tuple[np.ndarray, ...]:
        return self.a, self.b, self.seg_indptr, self.weight_indices


def _spread(scale: np.ndarray, blocks: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """A scale a block as a scale an element."""
    for axis, block in enumerate(blocks):
        scale = np.repeat(scale, block, axis=axis)
    return scale[tuple(slice(0, size) for size in shape)]


# dtype, kind of scales, block shape
CASES = [
    ("float32", None, None),
    ("float16", None, None),
    ("bfloat16", None, None),
    ("float32", "made", (32, 64)),
    ("float16", "made", (32, 64)),
    ("bfloat16", "made", (32, 64)),
    ("fp8_w8a8", "per_tensor", None),
    ("fp8_w8a8", "per_token_channel", None),
    ("fp8_w8a8", "block", (32, 64)),
    ("int8_w8a8", "per_token_channel", None),
    ("int8_w8a8", "block", (32, 64)),
    ("int8_w8a16_float16", "per_channel", None),
    ("int8_w8a16_bfloat16", "block", (32, 64)),
]
CASE_NAMES = ["_".join(str(part) for part in case if part is not None and part != (32, 64)) for case in CASES]


def make_product(
    dtype: str, scales: Optional[str], block: Optional[tuple[int, int]], seed: int = 0, n: int = 80, k: int = 144
) -> Product:
    """Ragged groups of five experts, some empty, some rows of none; seg_indptr begins at 0."""
    random = np.random.default_rng(seed)
    experts, groups = 5, 7
    counts = random.integers(0, 9, groups)
    counts[random.integers(groups)] = 0
    seg_indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    rows = int(seg_indptr[-1]) + 3
    weight_indices = random.integers(0, experts, groups).astype(np.int64)
    a = random.standard_normal((rows, k))
    b = random.standard_normal((experts, n, k))
    named: dict[str, Any] = {}
    scale_a: Any = np.ones((rows, 1))
    scale_b: Any = np.ones((experts, 1, 1))
    bits = {"float32": 2e-6, "float16": 6e-4}.get(dtype, 5e-3)

    def draw(*shape: int) -> np.ndarray:
        return random.uniform(0.01, 0.1, shape).astype(np.float32)

    def quantised(values: np.ndarray, to: str) -> np.ndarray:
        return np.clip(np.rint(values * 40), -127, 127).astype(np.int8) if to == "int8" else values.astype(E4M3)

    if scales is None or scales == "made":
        a = a.astype({"bfloat16": BFLOAT16}.get(dtype, dtype))
        b = b.astype({"bfloat16": BFLOAT16}.get(dtype, dtype)) if scales is None else quantised(b, "e4m3")
    elif dtype.startswith("int8_w8a16"):
        a = a.astype(BFLOAT16 if dtype.endswith("bfloat16") else np.float16)
        b = quantised(b, "int8")
    else:
        a, b = (quantised(values, "int8" if dtype == "int8_w8a8" else "e4m3") for values in (a, b))
    if block is not None:
        along_n, along_k = -(-n // block[0]), -(-k // block[1])
        named["block_shape"] = block
        named["scale_b"] = draw(experts, along_n, along_k)
        scale_b = _spread(named["scale_b"], (1, *block), b.shape)
        if scales == "block" and not dtype.startswith("int8_w8a16"):
            named["scale_a"] = draw(rows, along_k)
            scale_a = _spread(named["scale_a"], (1, block[1]), a.shape)
    elif scales == "per_tensor":
        named["scale_a"], named["scale_b"] = draw(experts), draw(experts)
        scale_b = (named["scale_a"].astype(np.float64) * named["scale_b"])[:, None, None]
    elif scales == "per_token_channel":
        named["scale_a"], named["scale_b"] = draw(rows), draw(experts, n)
        scale_a, scale_b = named["scale_a"][:, None], named["scale_b"][:, :, None]
    elif scales == "per_channel":
        named["scale_b"] = draw(experts, n)
        scale_b = named["scale_b"][:, :, None]
    if scales == "made":
        bits = 0.07  # e4m3 has 3 bits of mantissa: half of 2^-3 an element of a, and C's rounding

    wide_a = a.astype(np.float64) * scale_a
    wide_b = b.astype(np.float64) * scale_b
    wanted, magnitude = np.zeros((rows, n)), np.zeros((rows, n))
    in_group = np.zeros(rows, dtype=bool)
    for g in range(groups):
        own = slice(seg_indptr[g], seg_indptr[g + 1])
        wanted[own] = wide_a[own] @ wide_b[weight_indices[g]].T
        magnitude[own] = np.abs(wide_a[own]) @ np.abs(wide_b[weight_indices[g]]).T
        in_group[own] = True
    return Product(a, b, seg_indptr, weight_indices, named, wanted, magnitude, in_group, bits)


def in_masks(values: np.ndarray, product: Product, filler: Any) -> np.ndarray:
    """Rows [M, ...] by groups: [G, max_m, ...], two rows longer than the longest group, `filler` where there is none."""
    counts = np.diff(product.seg_indptr)
    out = np.full((len(counts), counts.max() + 2, *values.shape[1:]), filler, values.dtype)
    for g, count in enumerate(counts):
        out[g, :count] = values[product.seg_indptr[g] : product.seg_indptr[g + 1]]
    return out


def masked_arguments(product: Product) -> tuple[dict[str, Any], np.ndarray]:
    """The call, its a no number where no row is, and which rows there are."""
    named = dict(product.named)
    if named.get("scale_a", np.zeros(0)).shape[:1] == product.a.shape[:1]:
        named["scale_a"] = in_masks(named["scale_a"], product, np.nan)
    filler = 77 if product.a.dtype == np.int8 else np.nan
    named.update(
        a=in_masks(product.a, product, filler),
        b=product.b,
        masked_m=np.diff(product.seg_indptr).astype(np.int32),
        weight_indices=product.weight_indices,
    )
    return named, in_masks(np.ones(len(product.a), bool), product, False)


def check_masked(product: Product, c: np.ndarray, rows: np.ndarray) -> None:
    back = np.zeros(product.wanted.shape, c.dtype)
    back[product.rows] = c[rows]
    product.check(back)


def case_id(case: tuple[Any, ...]) -> str:
    return CASE_NAMES[CASES.index(case)]


@pytest.fixture(params=CASES, ids=CASE_NAMES)
def product(request: pytest.FixtureRequest) -> Product:
    return make_product(*request.param, seed=CASES.index(request.param))


@pytest.fixture(autouse=True)
def no_files_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("EXPERTILE_CONFIG_DIR", str(tmp_path / "configs"))
