"""The classes for vLLM, on a stand-in of its package, against the reference of the whole layer."""

from __future__ import annotations

import importlib
import types
from typing import Any, Iterator

import pytest

torch = pytest.importorskip("torch")

import engine_stand_ins as stand_ins  # noqa: E402
from engine_layer import EXPERTS, TOKENS, TOP_K, H, I, Layer, check, draw  # noqa: E402
from engine_stand_ins import VllmActivation, VllmFormat  # noqa: E402

import expertile  # noqa: E402

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=on_gpu)]


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    state = stand_ins.install_vllm(monkeypatch)
    state.plugin = importlib.import_module("expertile.integrations.vllm")
    state.experts = importlib.import_module("expertile.integrations._vllm_experts")
    yield state


def vllm_config(activation: Any = VllmActivation.SILU, **named: Any) -> Any:
    usual = {"swiglu_limit": None, "swiglu_alpha": None, "swiglu_beta": None}
    return types.SimpleNamespace(activation=activation, **{**usual, **named})


def vllm_scales(layer: Layer, kind: str) -> dict[str, Any]:
    """layer's scales as vLLM keeps them."""
    if not kind:
        return {}
    scales = {"w1_scale": layer.scales["scale_13"], "w2_scale": layer.scales["scale_2"]}
    named = {"quant_dtype": torch.float8_e4m3fn, **scales}
    if kind == "block":
        return {**named, "block_shape": layer.scales["block_shape"]}
    if kind == "channel":
        w1_scale, w2_scale = named["w1_scale"][:, :, None], named["w2_scale"][:, :, None]
        return {**named, "w1_scale": w1_scale, "w2_scale": w2_scale, "per_act_token_quant": True}
    return {**named, "a1_scale": layer.scales["input_scale_13"][0]}


def apply(experts: Any, layer: Layer, config: Any, **changes: Any) -> Any:
    usual = {"topk_weights": layer.weights, "topk_ids": layer.ids, "hidden_states": layer.hidden, "expert_map": None}
    given = {**usual, "a2_scale": None, "expert_tokens_meta": None, "apply_router_weight_on_input": False, **changes}
    output = torch.full_like(given["hidden_states"], 7)
    result = experts.apply(
        output=output, w1=layer.w13, w2=layer.w2, activation=config.activation, global_num_experts=EXPERTS,
        a1q_scale=None, workspace13=None, workspace2=None, **given,
    )  # fmt: skip
    assert result is None
    return output


VLLM_CASES = {
    "silu": (VllmActivation.SILU, {}, {"activation": "silu"}),
    "silu with a limit": (VllmActivation.SILU, {"swiglu_limit": 1.5}, {"activation": "silu", "limit": 1.5}),
    "gelu, which reads no limit": (VllmActivation.GELU_TANH, {"swiglu_limit": 0.5}, {"activation": "gelu_tanh"}),
    "gpt-oss": (VllmActivation.SWIGLUOAI, {}, {"activation": "swiglu_oai", "limit": 7.0, "gate_order": "interleaved"}),
    "MiniMax-M3": (
        VllmActivation.SWIGLUOAI_UNINTERLEAVE, {"swiglu_limit": 3.0, "swiglu_alpha": 1.5, "swiglu_beta": 1.0},
        {"activation": "swiglu_oai", "limit": 3.0, "alpha": 1.5},
    ),
    "packed silu": (
        VllmActivation.SWIGLUOAI_UNINTERLEAVE, {"swiglu_limit": 3.0}, {"activation": "silu", "limit": 3.0}
    ),
    "without a gate": (VllmActivation.RELU2_NO_MUL, {}, {"activation": "relu2"}),
}  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", VLLM_CASES)
def test_vllms_standard_format(vllm: Any, case: str, device: str) -> None:
    activation, fields, named = VLLM_CASES[case]
    layer = Layer(device, has_gate=case != "without a gate", has_bias=case == "gpt-oss")
    config = vllm_config(activation, **fields)
    biases = types.SimpleNamespace(w1_bias=layer.biases.get("bias_13"), w2_bias=layer.biases.get("bias_2"))
    experts = vllm.experts.ExpertileExperts(config, biases)
    check(apply(experts, layer, config), layer.wanted(**named))
    assert experts.workspace_shapes(TOKENS, 2 * I, H, TOP_K, EXPERTS, EXPERTS, None, activation) == (
        (0,), (0,), (TOKENS, H),
    )  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["block", "channel", "static"])
def test_vllms_fp8_weights(vllm: Any, kind: str, device: str) -> None:
    layer, config = Layer(device, scales=kind), vllm_config()
    experts = vllm.experts.ExpertileExperts(config, types.SimpleNamespace(**vllm_scales(layer, kind)))
    assert experts.expects_unquantized_inputs
    a2_scale = layer.scales["input_scale_2"][:1] if kind == "static" else None
    check(apply(experts, layer, config, a2_scale=a2_scale), layer.wanted())


def test_vllms_expert_map_and_padding_rows(vllm: Any) -> None:
    layer, config = Layer("cpu"), vllm_config()
    expert_map = torch.tensor([-1, -1, 0, 1, 2, 3], dtype=torch.int32)  # experts 0 and 1 are on another rank
    ids = torch.tensor([[0, 2], [3, 4], [5, 1], [-1, -1]] + [[2, 3]] * (TOKENS - 4), dtype=torch.int64)
    experts = vllm.experts.ExpertileExperts(config, types.SimpleNamespace())
    found = apply(experts, layer, config, topk_ids=ids, expert_map=expert_map)
    local = torch.where(ids < 0, -1, expert_map.long()[ids.clamp(min=0)])
    check(found, layer.wanted(topk_ids=local))
    assert (found[3] == 0).all()


def test_where_vllm_has_weighted_the_input_the_output_is_not(vllm: Any) -> None:
    layer, config = Layer("cpu"), vllm_config()
    experts = vllm.experts.ExpertileExperts(config, types.SimpleNamespace())
    one = {"topk_ids": layer.ids[:, :1], "topk_weights": layer.weights[:, :1]}
    found = apply(experts, layer, config, apply_router_weight_on_input=True, **one)
    check(found, layer.wanted(topk_ids=one["topk_ids"], topk_weights=torch.ones(TOKENS, 1)))


@pytest.mark.parametrize("device", DEVICES)
def test_vllms_batched_format(vllm: Any, device: str) -> None:
    layer, config = Layer(device), vllm_config()
    experts = vllm.experts.ExpertileBatchedExperts(config, types.SimpleNamespace(), max_num_tokens=3, num_dispatchers=2)
    hidden = draw(EXPERTS, 6, H).bfloat16().to(device)
    # The dispatcher counts for every expert of the model, its own first; rows behind the counts hold anything.
    counts = torch.tensor([6, 0, 3, 1, 99], dtype=torch.int32, device=device)
    hidden[2, 3:] = float("nan")
    tokens = types.SimpleNamespace(expert_num_tokens=counts)
    found = apply(experts, layer, config, hidden_states=hidden, expert_tokens_meta=tokens)
    assert found.shape == (EXPERTS, 6, H)
    for expert, count in enumerate([6, 0, 3, 1]):
        assert (found[expert, count:] == 0).all()
        if count == 0:
            continue
        one = {"topk_ids": torch.full((count, 1), expert), "topk_weights": torch.ones(count, 1)}
        one = {name: value.to(device) for name, value in one.items()}
        check(found[expert, :count], layer.wanted(hidden_states=hidden[expert, :count], **one))
    assert experts.workspace_shapes(6, 2 * I, H, TOP_K, 8, EXPERTS, None, config.activation)[2] == (EXPERTS, 6, H)


def test_who_weighs_and_sums(vllm: Any) -> None:
    standard = vllm.experts.ExpertileExperts(vllm_config(), types.SimpleNamespace())
    batched = vllm.experts.ExpertileBatchedExperts(vllm_config(), types.SimpleNamespace(), 1, 1)
    assert type(standard.finalize_weight_and_reduce_impl()).__name__ == "TopKWeightAndReduceNoOP"
    assert type(batched.finalize_weight_and_reduce_impl()).__name__ == "TopKWeightAndReduceDelegate"


def test_vllm_asks_for_batch_invariance(vllm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(expertile, "fused_moe", lambda *given, **named: asked.append(named["batch_invariant"]))
    experts = vllm.experts.ExpertileExperts(vllm_config(), types.SimpleNamespace())
    for vllm.envs.VLLM_BATCH_INVARIANT in (False, True):
        apply(experts, Layer("cpu"), vllm_config())
    assert asked == [False, True]


def test_what_vllm_is_told_is_not_supported(vllm: Any) -> None:
    cls, batched = vllm.experts.ExpertileExperts, vllm.experts.ExpertileBatchedExperts

    def answer(which: Any, config: Any, weight: Any = None, act: Any = None, form: Any = VllmFormat.Standard) -> Any:
        return which.is_supported_config(which, config, weight, act, form)

    assert answer(cls, vllm_config()) == (True, None)
    assert answer(batched, vllm_config(), form=VllmFormat.BatchedExperts) == (True, None)
    assert answer(cls, vllm_config(), "kFp8Static128BlockSym", "kFp8Dynamic128Sym") == (True, None)
    assert answer(cls, vllm_config(), "kFp8StaticTensorSym", "kFp8DynamicTensorSym")[0] is False
    assert answer(batched, vllm_config(), "kFp8Static128BlockSym", "kFp8Dynamic128Sym")[0] is False
    assert answer(cls, vllm_config(VllmActivation.GELU))[0] is False
    packed = vllm_config(VllmActivation.SWIGLUOAI_UNINTERLEAVE, swiglu_limit=7.0, swiglu_alpha=1.702, swiglu_beta=0.5)
    assert answer(cls, packed) == (
        False,
        "activation 'swigluoai_uninterleave' with limit 7.0, alpha 1.702 and beta 0.5 is not known; expertile has "
        "silu, gelu_tanh, swigluoai, swigluoai_uninterleave with a limit and beta 0 or 1, and relu2_no_mul",
    )


def test_a_hook_that_needs_the_rows_is_refused(vllm: Any) -> None:
    experts = vllm.experts.ExpertileExperts(vllm_config(), types.SimpleNamespace())
    experts.post_gemm2_hook = print
    with pytest.raises(expertile.Unsupported) as refused:
        apply(experts, Layer("cpu"), vllm_config())
    assert str(refused.value) == (
        "post_gemm2_hook needs the rows of each expert, expertile has their sum; take expertile out of VLLM_PLUGINS"
    )


def test_vllms_plugin_goes_before_triton_where_it_is_named(vllm: Any) -> None:
    triton, other = types.SimpleNamespace(name="TRITON"), types.SimpleNamespace(name="CPU")
    batched = types.SimpleNamespace(name="BATCHED_TRITON")
    for vllm.envs.VLLM_PLUGINS in (None, ["another"]):
        vllm.plugin.register()
        assert [oracle.backend_to_kernel_cls(triton) for oracle in vllm.oracles] == [["TRITON's own"]] * 2
    vllm.envs.VLLM_PLUGINS = ["another", "expertile"]
    vllm.plugin.register()
    vllm.plugin.register()
    for oracle in vllm.oracles:
        assert oracle.backend_to_kernel_cls(triton) == [vllm.experts.ExpertileExperts, "TRITON's own"]
        assert oracle.backend_to_kernel_cls(batched) == [vllm.experts.ExpertileBatchedExperts, "BATCHED_TRITON's own"]
        assert oracle.backend_to_kernel_cls(other) == ["CPU's own"]
    vllm.lora_config = object()
    assert vllm.oracles[0].backend_to_kernel_cls(triton) == ["TRITON's own"]
