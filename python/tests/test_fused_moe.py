"""A whole layer from NumPy's arrays, against its steps in float64."""

from __future__ import annotations

from typing import Any, Optional

import ml_dtypes
import numpy as np
import pytest

import expertile

E4M3 = ml_dtypes.float8_e4m3fn
BFLOAT16 = ml_dtypes.bfloat16
EXPERTS, HIDDEN, INTER, TOP_K, TOKENS = 6, 96, 64, 2, 13


def activate(name: str, gate: np.ndarray, up: np.ndarray) -> np.ndarray:
    if name == "silu":
        return gate / (1 + np.exp(-gate)) * up
    if name == "gelu_tanh":
        return gate / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3))) * up
    if name == "swiglu_oai":
        gate, up = np.minimum(gate, 7.0), np.clip(up, -7.0, 7.0)
        return gate / (1 + np.exp(-1.702 * gate)) * (up + 1)
    return np.maximum(gate, 0) ** 2


def reference(
    hidden: np.ndarray, w13: np.ndarray, w2: np.ndarray, weights: np.ndarray, ids: np.ndarray, activation: str = "silu",
    bias_13: Optional[np.ndarray] = None, bias_2: Optional[np.ndarray] = None,
) -> np.ndarray:  # fmt: skip
    """All in float64, of weights that are multiplied out."""
    out = np.zeros((len(hidden), w2.shape[1]))
    for token, row in enumerate(hidden.astype(np.float64)):
        for slot, expert in enumerate(ids[token]):
            if expert < 0:
                continue
            both = w13[expert] @ row + (0 if bias_13 is None else bias_13[expert])
            half = w2.shape[2]
            middle = activate(activation, both[:half], both[half:] if len(both) > half else both)
            made = w2[expert] @ middle + (0 if bias_2 is None else bias_2[expert])
            out[token] += weights[token, slot] * made
    return out


def make(seed: int, gated: bool = True) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    columns = 2 * INTER if gated else INTER
    ids = np.stack([rng.permutation(EXPERTS)[:TOP_K] for _ in range(TOKENS)]).astype(np.int32)
    ids[3, 1] = -1
    return {
        "hidden_states": rng.standard_normal((TOKENS, HIDDEN)).astype(np.float32),
        "w13": (rng.standard_normal((EXPERTS, columns, HIDDEN)) / np.sqrt(HIDDEN)).astype(np.float32),
        "w2": (rng.standard_normal((EXPERTS, HIDDEN, INTER)) / np.sqrt(INTER)).astype(np.float32),
        "topk_weights": rng.random((TOKENS, TOP_K)).astype(np.float32),
        "topk_ids": ids,
    }


def check(out: np.ndarray, expected: np.ndarray, relative: float) -> None:
    error = np.abs(out.astype(np.float64) - expected).max() / np.abs(expected).max()
    assert error < relative


@pytest.mark.parametrize("activation", ["silu", "gelu_tanh", "swiglu_oai", "relu2"])
def test_float32_agrees_for_every_activation(activation: str) -> None:
    layer = make(1, gated=activation != "relu2")
    check(expertile.fused_moe(**layer, activation=activation), reference(*layer.values(), activation), 1e-5)


def test_bfloat16_agrees_with_biases_and_ids_of_64_bits() -> None:
    layer = make(2)
    rng = np.random.default_rng(3)
    biases = {"bias_13": rng.standard_normal((EXPERTS, 2 * INTER)).astype(np.float32),
              "bias_2": rng.standard_normal((EXPERTS, HIDDEN)).astype(np.float32)}  # fmt: skip
    rounded = {name: layer[name].astype(BFLOAT16) for name in ("hidden_states", "w13", "w2")}
    exact = layer | {name: value.astype(np.float32) for name, value in rounded.items()}
    layer |= rounded | {"topk_ids": layer["topk_ids"].astype(np.int64)}
    out = expertile.fused_moe(**layer, **biases)
    assert out.dtype == BFLOAT16
    check(out, reference(*exact.values(), **biases), 0.02)


def quantised(weights: np.ndarray, axis: tuple[int, ...], dtype: Any, most: float) -> tuple[np.ndarray, np.ndarray]:
    scale = np.abs(weights).max(axis=axis, keepdims=True).astype(np.float32) / most
    values = weights / scale
    return (np.rint(values) if dtype == np.int8 else values).astype(dtype), scale


@pytest.mark.parametrize(
    "case", ["fp8 by channel", "fp8 by block", "fp8 by tensor", "int8_w8a16", "int8_w8a8"]
)
def test_narrow_weights_agree(case: str) -> None:
    layer = make(4)
    named: dict[str, Any] = {}
    exact = dict(layer)
    dtype = np.int8 if case.startswith("int8") else E4M3
    most = 127.0 if dtype == np.int8 else 448.0
    for name, scale_name in (("w13", "scale_13"), ("w2", "scale_2")):
        whole = layer[name]
        if case == "fp8 by block":
            blocks = whole.reshape(EXPERTS, whole.shape[1] // 32, 32, whole.shape[2] // 32, 32)
            values, scale = quantised(blocks, (2, 4), dtype, most)
            named[scale_name] = np.ascontiguousarray(scale[:, :, 0, :, 0])
        else:
            values, scale = quantised(whole, (1, 2) if case == "fp8 by tensor" else (2,), dtype, most)
            named[scale_name] = np.ascontiguousarray(scale[:, 0, 0] if case == "fp8 by tensor" else scale[:, :, 0])
        layer[name] = values.reshape(whole.shape)
        exact[name] = (values.astype(np.float32) * scale).reshape(whole.shape)
    if case == "fp8 by block":
        named["block_shape"] = (32, 32)
    if case == "fp8 by tensor":
        named |= {name: np.full(EXPERTS, 0.02, np.float32) for name in ("input_scale_13", "input_scale_2")}
    if case == "int8_w8a8":
        named["dtype"] = case
    layer["hidden_states"] = layer["hidden_states"].astype(BFLOAT16)
    check(expertile.fused_moe(**layer, **named), reference(*exact.values()), 0.08)


def test_out_may_be_an_input_and_a_shared_output_is_added() -> None:
    layer = make(5)
    shared = np.ones((TOKENS, HIDDEN), np.float32)
    expected = reference(*layer.values()) + 1
    hidden = layer["hidden_states"]
    out = expertile.fused_moe(**layer, shared_output=shared, out=hidden)
    assert out is hidden
    check(hidden, expected, 1e-5)


def test_an_expert_map_takes_the_models_ids_to_this_rank() -> None:
    layer = make(6)
    expert_map = np.array([-1, 0, 1, -1, 2, 3, 4, 5], np.int32)
    local = np.random.default_rng(7).integers(0, len(expert_map), layer["topk_ids"].shape).astype(np.int32)
    expected = reference(*(layer | {"topk_ids": expert_map[local]}).values())
    check(expertile.fused_moe(**(layer | {"topk_ids": local}), expert_map=expert_map), expected, 1e-5)


WRONG = {
    "ids": ({"topk_ids": np.full((TOKENS, TOP_K), 9, np.int32)}, "topk_ids[0, 0] is 9, it must be from -1 to 5"),
    "ids of floats": (
        {"topk_ids": np.zeros((TOKENS, TOP_K), np.float32)}, "topk_ids is float32, it must be int32 or int64"
    ),
    "another top_k": (
        {"topk_weights": np.ones((TOKENS, 3), np.float32)},
        f"topk_weights is [{TOKENS}, 3], the problem needs [{TOKENS}, {TOP_K}]",
    ),
    "an activation that is none": (
        {"activation": "swish"}, "activation 'swish' is not known; choose silu, gelu_tanh, swiglu_oai or relu2"
    ),
    "an activation without its gate": (
        {"activation": "relu2"},
        f"w13 is [{EXPERTS * 2 * INTER}, {HIDDEN}], the problem needs [{EXPERTS * INTER}, {HIDDEN}]",
    ),
    "weights of another type": (
        {"w2": np.zeros((EXPERTS, HIDDEN, INTER), BFLOAT16)}, "w2 is bfloat16, it must be float32"
    ),
    "a small workspace": ({"workspace": np.zeros(100, np.uint8)}, "workspace has 100 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_call_is_told_in_one_line(name: str) -> None:
    change, line = WRONG[name]
    with pytest.raises(expertile.InvalidArgument) as told:
        expertile.fused_moe(**(make(8) | change))
    assert str(told.value).startswith(line) and "\n" not in str(told.value)
