"""The runner core for SGLang, on a stand-in of its package, against the reference of the whole layer."""

from __future__ import annotations

import importlib
import logging
from typing import Any, Iterator

import pytest

torch = pytest.importorskip("torch")

import engine_stand_ins as stand_ins  # noqa: E402
from engine_layer import EXPERTS, TOKENS, H, Layer, check  # noqa: E402
from engine_stand_ins import SglangConfig, SglangDispatch, SglangFormat, SglangQuantInfo, SglangRouting  # noqa: E402

import expertile  # noqa: E402

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=on_gpu)]


@pytest.fixture
def sglang(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    state = stand_ins.install_sglang(monkeypatch)
    state.plugin = importlib.import_module("expertile.integrations.sglang")
    state.runner = importlib.import_module("expertile.integrations._sglang_runner")
    yield state


def dispatch(layer: Layer, **changes: Any) -> Any:
    return SglangDispatch(layer.hidden.clone(), SglangRouting(layer.weights, layer.ids), **changes)


def quant_info(layer: Layer, **changes: Any) -> Any:
    biases = {"b13": layer.biases.get("bias_13"), "b2": layer.biases.get("bias_2")}
    return SglangQuantInfo(layer.w13, layer.w2, **{**biases, **changes})


def run(sglang: Any, layer: Layer, config: Any, given: Any = None, info: Any = None) -> Any:
    core = sglang.runner.ExpertileRunnerCore(config)
    given = given or dispatch(layer)
    combined = core.run_from_dispatch(given, info or quant_info(layer), config)
    assert (combined.hidden_states is given.hidden_states) == config.inplace
    return combined.hidden_states


# ---- right -----------------------------------------------------------------------------------------------------------

CASES = {
    "silu": ({}, {"activation": "silu"}),
    "DeepSeek-V4's clamp": ({"swiglu_limit": 1.5}, {"activation": "silu", "limit": 1.5}),
    "gelu": ({"activation": "gelu_tanh"}, {"activation": "gelu_tanh"}),
    "gpt-oss": (
        {"gemm1_alpha": 1.702, "gemm1_clamp_limit": 7.0},
        {"activation": "swiglu_oai", "limit": 7.0, "gate_order": "interleaved"},
    ),
    "swiglu_oai, packed": (
        {"gemm1_alpha": 1.5, "gemm1_clamp_limit": 3.0, "gate_up_interleaved": False},
        {"activation": "swiglu_oai", "alpha": 1.5, "limit": 3.0},
    ),
    "without a gate": ({"activation": "relu2", "is_gated": False}, {"activation": "relu2"}),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("inplace", [False, True], ids=["a new tensor", "in place"])
@pytest.mark.parametrize("case", CASES)
def test_sglangs_activations(sglang: Any, case: str, inplace: bool, device: str) -> None:
    fields, named = CASES[case]
    layer = Layer(device, has_gate=case != "without a gate", has_bias=case == "gpt-oss")
    check(run(sglang, layer, SglangConfig(inplace=inplace, **fields)), layer.wanted(**named))


@pytest.mark.parametrize("device", DEVICES)
def test_weights_that_were_loaded_for_tritons_epilogue(sglang: Any, device: str) -> None:
    layer = Layer(device)
    info = quant_info(layer, fuse_swiglu_interleaved=True)
    check(run(sglang, layer, SglangConfig(), info=info), layer.wanted(activation="silu", gate_order="interleaved"))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["block", "channel", "static"])
def test_sglangs_fp8_weights(sglang: Any, kind: str, device: str) -> None:
    layer = Layer(device, scales=kind)
    w13_scale, w2_scale = layer.scales["scale_13"], layer.scales["scale_2"]
    named: dict[str, Any] = {"w13_scale": w13_scale, "w2_scale": w2_scale}
    if kind == "block":
        named = {**named, "block_shape": layer.scales["block_shape"]}
    elif kind == "channel":
        named = {"w13_scale": w13_scale[:, :, None], "w2_scale": w2_scale[:, :, None], "per_channel_quant": True}
    else:
        inputs = {"a13_scale": layer.scales["input_scale_13"], "a2_scale": layer.scales["input_scale_2"][0]}
        named = {**named, **inputs}
    check(run(sglang, layer, SglangConfig(), info=quant_info(layer, use_fp8_w8a8=True, **named)), layer.wanted())


@pytest.mark.parametrize("is_on_input", [False, True])
def test_the_routed_scaling_factor_multiplies_the_sum(sglang: Any, is_on_input: bool) -> None:
    layer = Layer("cpu")
    config = SglangConfig(routed_scaling_factor=2.5, apply_router_weight_on_input=is_on_input)
    wanted = layer.wanted(apply_router_weight_on_input=is_on_input)
    check(run(sglang, layer, config), (2.5 * wanted.float()).bfloat16())


def test_experts_of_other_ranks_are_skipped(sglang: Any) -> None:
    layer = Layer("cpu")
    layer.ids[1] = -1
    found = run(sglang, layer, SglangConfig())
    check(found, layer.wanted())
    assert (found[1] == 0).all()


# ---- what cannot run here --------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a clamp behind silu": (
        {"gemm1_clamp_limit": 7.0}, {},
        "activation 'silu' (is_gated=True, gemm1_alpha=None, gemm1_clamp_limit=7.0) is not known; silu, with "
        "swiglu_limit or with gemm1_alpha and gemm1_clamp_limit, gelu_tanh, and relu2 without a gate are",
    ),
    "silu without a gate": (
        {"is_gated": False}, {},
        "activation 'silu' (is_gated=False, gemm1_alpha=None, gemm1_clamp_limit=None) is not known; silu, with "
        "swiglu_limit or with gemm1_alpha and gemm1_clamp_limit, gelu_tanh, and relu2 without a gate are",
    ),
    "rows that are not summed": (
        {"no_combine": True}, {}, "no_combine needs the rows of each expert, the layer has their sum"
    ),
    "int4": (
        {}, {"use_int4_w4a16": True}, "use_int4_w4a16 is not known, float16, bfloat16, float32 and use_fp8_w8a8 are"
    ),
    "one scale for all tokens": (
        {}, {"use_fp8_w8a8": True},
        "one scale for all tokens that is made by the call is not known; scales of a token or static ones are",
    ),
    "static inputs with scales of a channel": (
        {}, {"use_fp8_w8a8": True, "per_channel_quant": True, "a13_scale": 1},
        "static scales of the input with scales of a channel are not known",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_the_core_refuses_with_the_reason(sglang: Any, case: str) -> None:
    fields, weights, line = REFUSED[case]
    layer = Layer("cpu")
    with pytest.raises(expertile.Unsupported) as refused:
        run(sglang, layer, SglangConfig(**fields), info=quant_info(layer, **weights))
    assert str(refused.value) == line


def test_other_formats_and_padded_weights_are_refused(sglang: Any) -> None:
    layer, config = Layer("cpu"), SglangConfig()
    reason = sglang.runner.why_not(dispatch(layer, format=SglangFormat.DEEPEP_LL), quant_info(layer), config)
    assert reason == "tokens are dispatched as 'deepep_ll', only 'standard' is known"
    reason = sglang.runner.why_not(dispatch(layer, hidden_states_scale=1), quant_info(layer), config)
    assert reason == "tokens are dispatched quantised, the layer quantises them itself"
    bypassed = SglangDispatch(layer.hidden, object())
    reason = sglang.runner.why_not(bypassed, quant_info(layer), config)
    assert reason == "routing is a object, only a StandardTopKOutput is known"
    padded = SglangQuantInfo(torch.zeros(EXPERTS, 8, H + 16), layer.w2)
    assert sglang.runner.why_not(dispatch(layer), padded, config) == (
        "w13 has rows of 80 for 64 columns; unset SGLANG_MOE_PADDING"
    )
    assert sglang.runner.why_not(dispatch(layer), object(), config) == "object is not known, TritonMoeQuantInfo is"
    assert sglang.runner.why_not(dispatch(layer), quant_info(layer), config, hooks=object()) == (
        "LoRA's hooks need the products between the steps"
    )


def test_scales_of_another_shape_are_refused(sglang: Any) -> None:
    layer = Layer("cpu", scales="channel")
    wrong = quant_info(layer, use_fp8_w8a8=True, per_channel_quant=True, w13_scale=torch.ones(EXPERTS, 3),
                       w2_scale=layer.scales["scale_2"])  # fmt: skip
    with pytest.raises(expertile.InvalidArgument) as refused:
        run(sglang, layer, SglangConfig(), info=wrong)
    assert str(refused.value) == "w13_scale is [4, 3], it must be [4, 64], or [4]"


# ---- the plugin ------------------------------------------------------------------------------------------------------


def test_nothing_is_changed_where_the_plugin_is_not_named(sglang: Any) -> None:
    before = dict(sglang.functions)
    for sglang.plugins in ("", "another"):
        sglang.plugin.register()
        assert sglang.factories == {} and sglang.functions == before


def test_named_it_runs_tritons_layers_and_leaves_it_what_it_cannot(
    sglang: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sglang.plugins = "another, expertile"
    sglang.plugin.register()
    sglang.plugin.register()
    assert sglang.factories["expertile"](SglangConfig()).runner_backend == "backend expertile"
    layer = Layer("cpu")
    function = sglang.functions["none", "triton"]
    found = function(dispatch(layer), quant_info(layer), SglangConfig())
    check(found.hidden_states, layer.wanted())
    assert found.hidden_states.shape == (TOKENS, H)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert function(dispatch(layer), quant_info(layer), SglangConfig(no_combine=True)) == "Triton's"
    assert [record.getMessage() for record in caplog.records] == [
        "expertile leaves a layer to Triton: no_combine needs the rows of each expert, the layer has their sum"
    ]
