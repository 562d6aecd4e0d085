"""What the engines' packages declare, against what is written for them. Nothing of an engine is run, and no PyTorch.

The files are read out of the wheels on PyPI, a few seconds each; where PyPI does not answer the tests are skipped.
EXPERTILE_ENGINE_TESTS=newest reads the newest versions, not those that were written against.
"""

from __future__ import annotations

import http.client
import os
import pathlib
import tomllib
from typing import Any, Callable

import pytest
from engine_sources import Class, Source
from unpack_engine import unpack

import expertile.integrations

OWN = pathlib.Path(expertile.integrations.__file__).parent
IS_NEWEST = os.environ.get("EXPERTILE_ENGINE_TESTS") == "newest"

_MOE = "vllm/model_executor/layers/fused_moe"
_ORACLES = [f"{_MOE}/oracle/{name}.py" for name in ("unquantized", "fp8")]
_VLLM = [
    f"{_MOE}/modular_kernel.py", f"{_MOE}/activation.py", f"{_MOE}/config.py", f"{_MOE}/topk_weight_and_reduce.py",
    *_ORACLES, "vllm/model_executor/layers/quantization/utils/quant_utils.py", "vllm/plugins/__init__.py",
    "vllm/envs.py", "vllm/config/__init__.py", "vllm/platforms/__init__.py", "vllm/platforms/interface.py",
    "vllm/__init__.py",
]  # fmt: skip
_RUNNER = "sglang/srt/layers/moe/moe_runner"
_SGLANG = [
    f"{_RUNNER}/__init__.py", f"{_RUNNER}/base.py", f"{_RUNNER}/runner.py", f"{_RUNNER}/triton.py",
    "sglang/srt/layers/moe/token_dispatcher/standard.py", "sglang/srt/layers/moe/token_dispatcher/base.py",
    "sglang/srt/layers/moe/topk.py", "sglang/srt/layers/moe/utils.py", "sglang/srt/plugins/__init__.py",
    "sglang/srt/environ.py",
]  # fmt: skip


def _unpacked(package: str, version: str, files: list[str], directory: pathlib.Path) -> Callable[[str], Source]:
    try:
        unpack(package, "newest" if IS_NEWEST else version, directory, files)
    except (OSError, http.client.HTTPException) as error:
        pytest.skip(f"{package} cannot be read from PyPI: {error}")
    return lambda name: Source(directory / name)


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Source]:
    return _unpacked("vllm", "0.33.0", _VLLM, tmp_path_factory.mktemp("vllm"))


@pytest.fixture(scope="module")
def sglang(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Source]:
    return _unpacked("sglang", "0.5.23", _SGLANG, tmp_path_factory.mktemp("sglang"))


def check_implements(own: Class, base: Class) -> None:
    whole = own | base
    assert not whole.abstract, f"{own.name} lacks {sorted(whole.abstract)}"
    shared = set(own.parameters) & set(base.parameters)
    assert shared
    for method in sorted(shared):
        assert own.parameters[method] == base.parameters[method], f"{own.name}.{method}"


def module_of(source: Callable[[str], Source], module: str) -> Source:
    path = module.replace(".", "/")
    try:
        return source(f"{path}.py")
    except FileNotFoundError:
        return source(f"{path}/__init__.py")


def check_imports(own: Source, package: str, source: Callable[[str], Source]) -> None:
    for module, names in own.imported(package).items():
        known = module_of(source, module).names()
        for name in names - known:
            assert module_of(source, f"{module}.{name}"), f"{module} has no {name}"


# ---- vLLM ------------------------------------------------------------------------------------------------------------


def vllm_base(vllm: Callable[[str], Source]) -> Class:
    kernel = vllm(f"{_MOE}/modular_kernel.py")
    return kernel.class_of("FusedMoEExpertsModular") | kernel.class_of("FusedMoEExperts")


@pytest.mark.parametrize("name", ["ExpertileExperts", "ExpertileBatchedExperts"])
def test_vllms_experts_have_its_methods_and_parameters(vllm: Callable[[str], Source], name: str) -> None:
    own = Source(OWN / "_vllm_experts.py")
    base = vllm_base(vllm)
    check_implements(own.class_of(name) | own.class_of("_Experts"), base)
    assert own.read_of("self") <= (own.class_of(name) | own.class_of("ExpertileExperts")).attributes | (
        own.class_of("_Experts").attributes | base.attributes
    )


def test_what_is_imported_of_vllm_is_there(vllm: Callable[[str], Source]) -> None:
    own = Source(OWN / "_vllm_experts.py")
    check_imports(own, "vllm", vllm)
    check_imports(Source(OWN / "vllm.py"), "vllm", vllm)
    assert own.read_of("mk") <= vllm(f"{_MOE}/modular_kernel.py").names()
    assert own.read_of("envs") <= vllm("vllm/envs.py").names() and "VLLM_PLUGINS" in vllm("vllm/envs.py").names()
    assert own.read_of("current_platform") <= vllm("vllm/platforms/interface.py").class_of("Platform").attributes


def test_vllms_values_have_the_fields_that_are_read(vllm: Callable[[str], Source]) -> None:
    own, config = Source(OWN / "_vllm_experts.py"), vllm(f"{_MOE}/config.py")
    activation = vllm(f"{_MOE}/activation.py")
    assert own.read_of("MoEActivation") <= activation.class_of("MoEActivation").attributes
    assert own.read_of("config") <= activation.class_of("ApplyMoEActivationConfig").attributes
    assert own.read_of("moe_config") <= config.class_of("FusedMoEConfig").attributes
    assert own.read_of("moe_parallel_config") <= config.class_of("FusedMoEParallelConfig").attributes
    tokens = vllm(f"{_MOE}/modular_kernel.py").class_of("ExpertTokensMetadata")
    assert own.read_of("expert_tokens_meta") <= tokens.attributes


def test_vllms_oracles_ask_by_the_names_that_are_replaced(vllm: Callable[[str], Source]) -> None:
    for path, backends in zip(_ORACLES, ("UnquantizedMoeBackend", "Fp8MoeBackend")):
        oracle = vllm(path)
        assert oracle.functions()["backend_to_kernel_cls"] == ["backend"]
        assert {"TRITON", "BATCHED_TRITON"} <= oracle.class_of(backends).attributes


# ---- SGLang ----------------------------------------------------------------------------------------------------------


def test_sglangs_runner_core_has_its_methods_and_parameters(sglang: Callable[[str], Source]) -> None:
    own = Source(OWN / "_sglang_runner.py").class_of("ExpertileRunnerCore")
    check_implements(own, sglang(f"{_RUNNER}/base.py").class_of("DispatchMoeRunnerCore"))
    functions = sglang(f"{_RUNNER}/runner.py").functions()
    assert functions["register_moe_runner_core"] == ["backend_name", "factory"]
    assert sglang(f"{_RUNNER}/triton.py").functions()["fused_experts_none_to_triton"] == [
        "dispatch_output", "quant_info", "runner_config",
    ]  # fmt: skip


def test_what_is_imported_of_sglang_is_there(sglang: Callable[[str], Source]) -> None:
    check_imports(Source(OWN / "_sglang_runner.py"), "sglang", sglang)
    check_imports(Source(OWN / "sglang.py"), "sglang", sglang)
    assert "_CUSTOM_RUNNER_CORE_FACTORIES" in sglang(f"{_RUNNER}/runner.py").names()
    assert "SGLANG_PLUGINS" in sglang("sglang/srt/environ.py").names()
    pool = sglang(f"{_RUNNER}/base.py").class_of("FusedOpPool")
    assert "_fused_funcs" in pool.attributes
    assert pool.parameters["get_fused_func"] == ["cls", "dispatch_name", "runner_name"]


def test_sglangs_values_have_the_fields_that_are_read(sglang: Callable[[str], Source]) -> None:
    own = Source(OWN / "_sglang_runner.py")
    assert own.read_of("config") <= sglang(f"{_RUNNER}/base.py").class_of("MoeRunnerConfig").attributes
    assert own.read_of("info", "quant_info") <= sglang(f"{_RUNNER}/triton.py").class_of("TritonMoeQuantInfo").attributes
    standard = sglang("sglang/srt/layers/moe/token_dispatcher/standard.py")
    assert own.read_of("dispatch_output") <= standard.class_of("StandardDispatchOutput").attributes
    routing = sglang("sglang/srt/layers/moe/topk.py")
    assert own.read_of("routing") <= routing.class_of("StandardTopKOutput").attributes
    assert own.read_of("TopKOutputChecker") <= routing.class_of("TopKOutputChecker").attributes
    assert "hidden_states" in standard.class_of("StandardCombineInput").attributes
    formats = sglang("sglang/srt/layers/moe/token_dispatcher/base.py").class_of("DispatchOutputFormat")
    assert "is_standard" in formats.attributes


# ---- entry points ----------------------------------------------------------------------------------------------------


def entry_points() -> dict[str, Any]:
    project = pathlib.Path(__file__).resolve().parents[2] / "pyproject.toml"
    found: dict[str, Any] = tomllib.loads(project.read_text())["project"]["entry-points"]
    return found


def test_entry_points_lead_to_functions_that_import_no_engine_and_no_pytorch() -> None:
    for group, engine in (("vllm.general_plugins", "vllm"), ("sglang.srt.plugins", "sglang")):
        (target,) = entry_points()[group].values()
        module, function = target.split(":")
        source = Source(OWN / f"{module.rsplit('.', 1)[1]}.py")
        assert source.functions()[function] == []
        at_once = {line for line in source.text.splitlines() if line.startswith(("import ", "from "))}
        assert not [line for line in at_once if engine in line or "torch" in line]


def test_vllm_reads_its_group(vllm: Callable[[str], Source]) -> None:
    assert '"vllm.general_plugins"' in vllm("vllm/plugins/__init__.py").text


def test_sglang_reads_its_group(sglang: Callable[[str], Source]) -> None:
    assert '"sglang.srt.plugins"' in sglang("sglang/srt/plugins/__init__.py").text
