"""As much of vLLM's and SGLang's packages as is imported of them, in sys.modules: test_engines.py holds the real files
against the same names. Each install_... returns what a test changes."""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
from typing import Any, NamedTuple, Optional

import pytest

import expertile.integrations

def _install(monkeypatch: pytest.MonkeyPatch, modules: dict[str, dict[str, Any]], written_for_it: str) -> None:
    """Every package above a module is made as well. written_for_it is imported anew, and forgotten after the test."""
    paths = sorted({name.rsplit(".", above)[0] for name in modules for above in range(name.count(".") + 1)})
    for path in paths:
        monkeypatch.setitem(sys.modules, path, types.ModuleType(path))
        vars(sys.modules[path]).update(modules.get(path, {}))
        above, _, last = path.rpartition(".")
        if above:
            setattr(sys.modules[above], last, sys.modules[path])
    monkeypatch.setitem(sys.modules, written_for_it, types.ModuleType(written_for_it))
    del sys.modules[written_for_it]
    monkeypatch.delattr(expertile.integrations, written_for_it.rpartition(".")[2], raising=False)


# ---- vLLM ------------------------------------------------------------------------------------------------------------


class VllmActivation(enum.Enum):
    SILU = "silu"
    GELU = "gelu"
    GELU_TANH = "gelu_tanh"
    SWIGLUOAI = "swigluoai"
    SWIGLUOAI_UNINTERLEAVE = "swigluoai_uninterleave"
    RELU2_NO_MUL = "relu2_no_mul"


class VllmFormat(enum.Enum):
    Standard = "standard"
    BatchedExperts = "batched_experts"


class VllmExperts:
    """FusedMoEExpertsModular: what it knows of scales comes from the fields of quant_config."""

    post_gemm2_hook: Any = None

    def __init__(
        self, moe_config: Any, quant_config: Any, max_num_tokens: Any = None, num_dispatchers: Any = None
    ) -> None:
        self.max_num_tokens, self.num_dispatchers = max_num_tokens, num_dispatchers
        self.activation_config = types.SimpleNamespace(
            clamp_limit=moe_config.swiglu_limit,
            alpha=1.0 if moe_config.swiglu_alpha is None else moe_config.swiglu_alpha,
            beta=0.0 if moe_config.swiglu_beta is None else moe_config.swiglu_beta,
        )
        for name in ("w1_bias", "w2_bias", "w1_scale", "w2_scale", "a1_scale", "block_shape", "quant_dtype"):
            setattr(self, name, getattr(quant_config, name, None))
        self.per_act_token_quant = getattr(quant_config, "per_act_token_quant", False)

    @staticmethod
    def is_supported_config(cls: Any, moe_config: Any, weight: Any, act: Any, activation_format: Any) -> Any:
        if not cls._supports_activation(moe_config.activation):
            return False, f"kernel does not support {moe_config.activation} activation"
        if not cls._supports_quant_scheme(weight, act):
            return False, f"kernel does not support quantization scheme {weight}x{act}"
        return activation_format == cls.activation_format(), None


def install_vllm(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    state = types.SimpleNamespace(lora_config=None)
    moe, schemes = "vllm.model_executor.layers.fused_moe", "vllm.model_executor.layers.quantization.utils.quant_utils"
    keys = (
        "kFp8Dynamic128Sym", "kFp8DynamicTokenSym", "kFp8Static128BlockSym", "kFp8StaticChannelSym",
        "kFp8StaticTensorSym",
    )  # fmt: skip
    platform = types.SimpleNamespace(
        is_cuda=lambda: True, has_device_capability=lambda needed: needed <= (9, 0), supports_fp8=lambda: True
    )
    oracles = {
        f"{moe}.oracle.{name}": {"backend_to_kernel_cls": lambda backend: [f"{backend.name}'s own"]}
        for name in ("unquantized", "fp8")
    }
    reduce = {name: type(name, (), {}) for name in ("TopKWeightAndReduceDelegate", "TopKWeightAndReduceNoOP")}
    kernel = {
        "FusedMoEActivationFormat": VllmFormat, "FusedMoEExperts": VllmExperts, "FusedMoEExpertsModular": VllmExperts
    }  # fmt: skip
    modules = {
        "vllm.envs": {"VLLM_PLUGINS": ["expertile"], "VLLM_BATCH_INVARIANT": False},
        "vllm.config": {"get_current_vllm_config_or_none": lambda: state},
        "vllm.platforms": {"current_platform": platform},
        f"{moe}.modular_kernel": kernel,
        f"{moe}.activation": {"MoEActivation": VllmActivation},
        f"{moe}.topk_weight_and_reduce": reduce,
        schemes: {key: key for key in keys},
        **oracles,
    }
    _install(monkeypatch, modules, "expertile.integrations._vllm_experts")
    state.envs = sys.modules["vllm.envs"]
    state.oracles = [sys.modules[name] for name in oracles]
    return state


# ---- SGLang ----------------------------------------------------------------------------------------------------------


class SglangFormat(enum.Enum):
    STANDARD = "standard"
    DEEPEP_LL = "deepep_ll"

    def is_standard(self) -> bool:
        return self is SglangFormat.STANDARD


class SglangRouting(NamedTuple):
    topk_weights: Any
    topk_ids: Any
    router_logits: Any = None


@dataclasses.dataclass
class SglangDispatch:
    hidden_states: Any
    topk_output: Any
    hidden_states_scale: Any = None
    hidden_states_pre_quant: Any = None
    format: SglangFormat = SglangFormat.STANDARD


class SglangCombine(NamedTuple):
    hidden_states: Any


@dataclasses.dataclass
class SglangQuantInfo:
    """TritonMoeQuantInfo."""

    w13_weight: Any
    w2_weight: Any
    b13: Any = None
    b2: Any = None
    use_mxfp8: bool = False
    use_fp8_w8a8: bool = False
    use_int8_w8a8: bool = False
    use_int8_w8a16: bool = False
    use_int4_w4a16: bool = False
    per_channel_quant: bool = False
    w13_scale: Any = None
    w2_scale: Any = None
    a13_scale: Any = None
    a2_scale: Any = None
    block_shape: Optional[list[int]] = None
    fuse_swiglu_interleaved: bool = False


@dataclasses.dataclass
class SglangConfig:
    """MoeRunnerConfig."""

    activation: str = "silu"
    is_gated: bool = True
    apply_router_weight_on_input: bool = False
    inplace: bool = False
    no_combine: bool = False
    routed_scaling_factor: Optional[float] = None
    gemm1_alpha: Optional[float] = None
    gemm1_clamp_limit: Optional[float] = None
    swiglu_limit: Optional[float] = None
    gate_up_interleaved: bool = True


class SglangCore:
    """DispatchMoeRunnerCore."""

    def __init__(self, config: Any) -> None:
        self.config = config


def install_sglang(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    state = types.SimpleNamespace(plugins="expertile", factories={}, functions={})
    state.functions["none", "triton"] = lambda *given: "Triton's"
    pool = type("FusedOpPool", (), {
        "_fused_funcs": state.functions, "get_fused_func": staticmethod(lambda *key: state.functions.get(key))
    })  # fmt: skip
    runner, moe = "sglang.srt.layers.moe.moe_runner", "sglang.srt.layers.moe"
    checker = types.SimpleNamespace(format_is_standard=lambda routing: isinstance(routing, SglangRouting))
    plugins = types.SimpleNamespace(get=lambda: state.plugins)
    modules = {
        "sglang.srt.environ": {"envs": types.SimpleNamespace(SGLANG_PLUGINS=plugins)},
        runner: {"register_moe_runner_core": state.factories.__setitem__},
        f"{runner}.base": {"DispatchMoeRunnerCore": SglangCore, "FusedOpPool": pool},
        f"{runner}.runner": {"_CUSTOM_RUNNER_CORE_FACTORIES": state.factories},
        f"{runner}.triton": {"TritonMoeQuantInfo": SglangQuantInfo},
        f"{moe}.token_dispatcher.standard": {"StandardCombineInput": SglangCombine},
        f"{moe}.topk": {"TopKOutputChecker": checker},
        f"{moe}.utils": {"resolve_moe_runner_backend": lambda name: f"backend {name}"},
    }
    _install(monkeypatch, modules, "expertile.integrations._sglang_runner")
    return state
