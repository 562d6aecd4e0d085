"""vLLM's plugin: its layers run on expertile where Triton's would, if VLLM_PLUGINS names expertile.

    VLLM_PLUGINS=expertile vllm serve MODEL

vLLM calls register() in each of its processes, by the entry point vllm.general_plugins. expertile's experts are then
asked before Triton's whether they support a layer; what they do not is Triton's, as ever. See docs/engines.md.
"""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["NAME", "register"]

NAME = "expertile"
_ORACLES = ("unquantized", "fp8")


def register() -> None:
    """Puts expertile's experts before Triton's, where VLLM_PLUGINS names them. Again is no error.

    An installed package alone changes nothing: without VLLM_PLUGINS vLLM loads every plugin that it finds.
    """
    from vllm import envs

    if NAME in (envs.VLLM_PLUGINS or ()):
        import importlib

        for name in _ORACLES:
            _put_before_triton(importlib.import_module(f"vllm.model_executor.layers.fused_moe.oracle.{name}"))


def _has_lora() -> bool:
    from vllm.config import get_current_vllm_config_or_none

    config = get_current_vllm_config_or_none()
    return config is not None and config.lora_config is not None


def _put_before_triton(oracle: Any) -> None:
    """vLLM asks the classes of a backend in their order, and takes the first that supports the layer."""
    from expertile.integrations import _vllm_experts

    own = {"TRITON": _vllm_experts.ExpertileExperts, "BATCHED_TRITON": _vllm_experts.ExpertileBatchedExperts}
    before = oracle.backend_to_kernel_cls
    if getattr(before, "has_expertile", False):
        return

    @functools.wraps(before)
    def backend_to_kernel_cls(backend: Any) -> list[Any]:
        classes: list[Any] = before(backend)
        # With LoRA the first class is taken without being asked.
        if backend.name not in own or _has_lora():
            return classes
        return [own[backend.name], *classes]

    backend_to_kernel_cls.has_expertile = True  # type: ignore[attr-defined]
    oracle.backend_to_kernel_cls = backend_to_kernel_cls
