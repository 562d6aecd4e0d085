"""Models of transformers with experts_implementation="expertile", against its own eager implementation."""

from __future__ import annotations

import importlib
import types
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5.7")

import moe_reference  # noqa: E402
from tiny_models import ARCHITECTURES, VOCABULARY, experts_of, make_model  # noqa: E402

import expertile  # noqa: E402
import expertile.integrations.transformers as integration  # noqa: E402
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS, use_experts_implementation  # noqa: E402

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=on_gpu)]
IS_KNOWN = transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
MODELS = [
    pytest.param(name, marks=pytest.mark.skipif(name not in IS_KNOWN, reason=f"this transformers has no {name}"))
    for name in ARCHITECTURES
]
# Of the logits' largest. Both round to bfloat16 between the steps, at places that differ.
TOLERANCES = {torch.float32: 2e-5, torch.bfloat16: 4e-2}


def prompt(device: str) -> Any:
    return torch.randint(3, VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(1)).to(device)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tokens of each call of the layer."""
    tokens: list[int] = []
    fused_moe = expertile.fused_moe

    def counted(hidden_states: Any, *given: Any, **named: Any) -> Any:
        tokens.append(len(hidden_states))
        return fused_moe(hidden_states, *given, **named)

    monkeypatch.setattr(expertile, "fused_moe", counted)
    return tokens


def relative_difference(found: Any, wanted: Any) -> float:
    assert found.dtype == wanted.dtype and torch.isfinite(found).all()
    return float((found.double() - wanted.double()).abs().max() / wanted.double().abs().max())


# ---- right -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", list(TOLERANCES), ids=str)
@pytest.mark.parametrize("architecture", MODELS)
def test_logits_are_those_of_eager(architecture: str, dtype: Any, device: str, calls: list[int]) -> None:
    model = make_model(architecture, "expertile", dtype, device)
    with torch.no_grad():
        found = model(prompt(device)).logits
        assert calls == [18] * len(experts_of(model)) != []
        model.set_experts_implementation("eager")
        wanted = model(prompt(device)).logits
    assert len(calls) == len(experts_of(model))
    # In 16 bits a router's tie may fall the other way for a token: all but a few agree.
    apart = (found.double() - wanted.double()).abs().amax(-1) / wanted.double().abs().max()
    share = float((apart <= TOLERANCES[dtype]).double().mean())
    assert share == 1 if dtype == torch.float32 else share >= 0.8


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("architecture", MODELS)
def test_it_generates_what_eager_generates(architecture: str, device: str) -> None:
    tokens = [
        make_model(architecture, implementation, device=device).generate(
            prompt(device), max_new_tokens=4, do_sample=False, pad_token_id=0
        )
        for implementation in ("expertile", "eager")
    ]
    assert torch.equal(*tokens)


@pytest.mark.parametrize("device", DEVICES)
def test_a_saved_model_is_loaded_with_it(device: str, tmp_path: Any) -> None:
    model = make_model("gpt_oss", "expertile", device=device)
    with torch.no_grad():
        wanted = model(prompt(device)).logits  # and its weights are turned round in memory
        model.save_pretrained(tmp_path)
        again = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path, experts_implementation="expertile", dtype=torch.float32
        )
        assert relative_difference(again.to(device)(prompt(device)).logits, wanted) <= 1e-6


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("architecture", ["olmoe", "gpt_oss"])
def test_compiled_experts_are_one_graph_from_the_first_call_on(architecture: str, device: str) -> None:
    (experts, *_) = experts_of(make_model(architecture, "expertile", device=device))
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(5, 32, generator=generator).to(device)
    ids = torch.randint(0, 4, (5, 2), generator=generator).to(device)
    weights = torch.rand(5, 2, generator=generator).to(device)
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(lambda *given: experts(*given) * 2, fullgraph=True, backend="aot_eager")
        first = compiled(hidden, ids, weights)
        assert torch.allclose(first, experts(hidden, ids, weights) * 2, rtol=1e-5, atol=1e-5)


def test_a_compiled_function_keeps_the_clamp_of_each_module() -> None:
    first, second = experts_of(make_model("gpt_oss", "expertile"))
    second.load_state_dict(first.state_dict())
    second.limit = 3.0
    given = (torch.randn(5, 32), torch.randint(0, 4, (5, 2)), torch.rand(5, 2))
    torch.compiler.reset()
    compiled = torch.compile(lambda experts: experts(*given), fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert not torch.allclose(first(*given), second(*given), rtol=1e-2)
        for experts in (first, second, first):
            assert torch.allclose(compiled(experts), experts(*given), rtol=1e-5, atol=1e-5)


@on_gpu
def test_a_graph_of_the_experts_replays_on_new_states() -> None:
    (experts, *_) = experts_of(make_model("gpt_oss", "expertile", torch.bfloat16, "cuda"))
    hidden = torch.randn(5, 32, dtype=torch.bfloat16, device="cuda")
    ids, weights = torch.randint(0, 4, (5, 2), device="cuda"), torch.rand(5, 2, device="cuda")
    with torch.no_grad():
        experts(hidden, ids, weights)  # prepared outside
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = experts(hidden, ids, weights)
        hidden.neg_()
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(out, experts(hidden, ids, weights))


# ---- weights and ids -------------------------------------------------------------------------------------------------


def test_weights_the_other_way_round_are_turned_once_and_keep_their_shape() -> None:
    model = make_model("gpt_oss", "expertile")
    (experts, *_) = experts_of(model)
    before = experts.gate_up_proj.clone()
    with torch.no_grad():
        model(prompt("cpu"))
        place = experts.gate_up_proj.data_ptr()
        model(prompt("cpu"))
    assert experts.gate_up_proj.data_ptr() == place
    assert torch.equal(experts.gate_up_proj, before) and experts.gate_up_proj.shape == (4, 32, 80)
    assert experts.gate_up_proj.transpose(1, 2).is_contiguous()


def test_ids_of_experts_on_other_ranks_are_skipped() -> None:
    (experts, *_) = experts_of(make_model("olmoe", "expertile"))
    hidden, weights = torch.randn(3, 32), torch.ones(3, 2)
    with torch.no_grad():
        both = experts(hidden, torch.tensor([[0, 1], [2, 3], [4, 5]]), weights)
        foreign = experts(hidden, torch.tensor([[0, 8], [2, 8], [8, 8]]), weights)
        other = experts(hidden, torch.tensor([[8, 1], [8, 3], [4, 5]]), weights)
    assert torch.allclose(foreign + other, both, atol=1e-5) and (foreign[2] == 0).all()


def test_under_autocast_the_weights_type_counts() -> None:
    model = make_model("olmoe", "expertile", torch.bfloat16)
    (experts, *_) = experts_of(model)
    hidden, ids, weights = torch.randn(3, 32), torch.tensor([[0, 1], [2, 3], [4, 5]]), torch.ones(3, 2)
    with torch.no_grad():
        found = experts(hidden, ids, weights)
        assert found.dtype == torch.float32
        assert torch.equal(found, experts(hidden.bfloat16(), ids, weights).float())


# ---- transformers' own fp8 experts -----------------------------------------------------------------------------------


def fp8_experts(device: str, **changes: Any) -> Any:
    """What FP8Experts has, with drawn weights: E = 3, H = 64, I = 32, blocks of 16 times 32."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Any:
        return torch.randn(shape, generator=generator).to(torch.float8_e4m3fn).to(device)

    act_fn = torch.nn.functional.silu
    fields: dict[str, Any] = {
        "has_gate": True, "has_bias": False, "is_transposed": False, "activation_scheme": "dynamic",
        "block_size": (16, 32), "act_fn": act_fn,
        "gate_up_proj": draw(3, 64, 64), "down_proj": draw(3, 64, 32),
        "gate_up_proj_scale_inv": torch.rand(3, 4, 2, generator=generator).to(device),
        "down_proj_scale_inv": torch.rand(3, 4, 1, generator=generator).to(device),
        "_apply_gate": lambda rows: act_fn(rows.chunk(2, -1)[0]) * rows.chunk(2, -1)[1],
    }  # fmt: skip
    return types.SimpleNamespace(**{**fields, **changes})


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scheme", ["dynamic", "static"])
def test_fp8_experts_run_with_their_scales(scheme: str, device: str) -> None:
    experts = fp8_experts(device)
    named = {
        "scale_13": experts.gate_up_proj_scale_inv, "scale_2": experts.down_proj_scale_inv, "block_shape": [16, 32]
    }  # fmt: skip
    if scheme == "static":
        scales = [value * torch.arange(1.0, 4).to(device) for value in (0.3, 0.2, 0.02, 5.0)]
        named = dict(zip(("scale_13", "scale_2", "input_scale_13", "input_scale_2"), scales))
        experts = fp8_experts(
            device, activation_scheme=scheme, block_size=None,
            gate_up_proj_scale_inv=scales[0].reshape(3, 1, 1), down_proj_scale_inv=scales[1].reshape(3, 1, 1),
            gate_up_proj_activation_scale=scales[2], down_proj_activation_scale=scales[3],
        )  # fmt: skip
    hidden = torch.randn(7, 64, generator=torch.Generator().manual_seed(4)).bfloat16().to(device)
    ids, weights = torch.tensor([[0, 2]] * 5 + [[1, 0]] * 2).to(device), torch.rand(7, 2).to(device)
    found = integration.fp8_experts_forward(experts, hidden, ids, weights)
    wanted = moe_reference.fused_moe(
        hidden, experts.gate_up_proj, experts.down_proj, weights, ids, activation="silu", **named
    )
    assert relative_difference(found, wanted) <= 3e-2


# ---- refused ---------------------------------------------------------------------------------------------------------


def made_experts(**fields: Any) -> Any:
    """Experts of a class that transformers does not know, through its own decorator."""

    class StrangeExperts(torch.nn.Module):
        def __init__(self, config: Any) -> None:
            super().__init__()
            self.num_experts = 2
            self.gate_up_proj = torch.nn.Parameter(torch.randn(2, 12, 8))
            self.down_proj = torch.nn.Parameter(torch.randn(2, 8, 6))

        def forward(self, hidden_states: Any, top_k_index: Any, top_k_weights: Any) -> Any:
            raise AssertionError("eager ran")

    if "_apply_gate" in fields:
        StrangeExperts._apply_gate = fields.pop("_apply_gate")
    config = types.SimpleNamespace(_experts_implementation="expertile")
    experts = use_experts_implementation(StrangeExperts)(config)
    for name, value in fields.items():
        setattr(experts, name, value)
    return experts


def run(experts: Any) -> Any:
    with torch.no_grad():
        return experts(torch.randn(3, 8), torch.tensor([[0], [1], [0]]), torch.ones(3, 1))


def refusal_of(experts: Any) -> str:
    with pytest.raises(expertile.Unsupported) as refused:
        run(experts)
    return str(refused.value)


def softcapped(self: Any, rows: Any) -> Any:
    gate, up = rows.chunk(2, -1)
    return 5 * torch.tanh(gate / 5) * torch.sigmoid(gate) * up


def test_a_gate_that_the_layer_has_not_is_named() -> None:
    known = "with a gate the layer has silu, gelu_tanh and swiglu_oai, with and without a clamp; "
    known += 'choose another experts_implementation, such as "grouped_mm"'
    assert refusal_of(made_experts(_apply_gate=softcapped)) == (
        f"StrangeExperts: activation 'StrangeExperts._apply_gate' is not known, {known}"
    )
    assert refusal_of(made_experts(act_fn=torch.nn.GELU())) == (
        f"StrangeExperts: activation 'GELU' is not known, {known}"
    )
    assert refusal_of(made_experts(act_fn=torch.tanh)) == f"StrangeExperts: activation 'tanh' is not known, {known}"


def test_a_clamp_that_the_module_names_but_differs_is_refused() -> None:
    def clamped_after(self: Any, rows: Any) -> Any:
        gate, up = rows.chunk(2, -1)
        return torch.nn.functional.silu(gate).clamp(max=self.limit) * up.clamp(-self.limit, self.limit)

    def clamped_before(self: Any, rows: Any) -> Any:
        gate, up = rows.chunk(2, -1)
        return torch.nn.functional.silu(gate.clamp(max=self.limit)) * up.clamp(-self.limit, self.limit)

    assert "'StrangeExperts._apply_gate' is not known" in refusal_of(made_experts(_apply_gate=clamped_after, limit=3.0))
    assert torch.isfinite(run(made_experts(_apply_gate=clamped_before, limit=3.0))).all()


def test_a_norm_after_each_expert_is_refused() -> None:
    experts = made_experts(act_fn=torch.nn.SiLU(), has_post_expert_norm=True)
    assert refusal_of(experts) == (
        "StrangeExperts has a norm after each expert, before the router's weight, which the layer has not; "
        'choose another experts_implementation, such as "grouped_mm"'
    )


def test_a_gradient_is_refused_and_not_lost() -> None:
    model = make_model("olmoe", "expertile")
    with pytest.raises(expertile.Unsupported) as refused:
        model(prompt("cpu"))
    assert str(refused.value) == (
        "the hidden states or the experts' weights require a gradient, which the layer does not follow; call the model "
        'within torch.no_grad(), or to train choose another experts_implementation, such as "grouped_mm"'
    )


def test_registering_again_is_no_error() -> None:
    integration.register()
    assert ALL_EXPERTS_FUNCTIONS["expertile"] is integration.experts_forward


def test_an_older_transformers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not the module that was imported above: transformers puts another in its place when it loads a model.
    monkeypatch.setattr(importlib.import_module("transformers"), "__version__", "5.6.2")
    with pytest.raises(expertile.Unsupported) as refused:
        integration.register()
    assert str(refused.value) == (
        "transformers is 5.6.2, 5.7 or newer is needed: older ones know their own experts alone"
    )
