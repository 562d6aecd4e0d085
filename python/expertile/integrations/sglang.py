"""SGLang's plugin: its layers run on expertile where Triton's would, if SGLANG_PLUGINS names expertile.

    SGLANG_PLUGINS=expertile python -m sglang.launch_server --moe-runner-backend triton --model-path MODEL

SGLang calls register() in each of its processes, by the entry point sglang.srt.plugins. The runner core is registered
by the name "expertile", too, for quantisation methods that make a runner of that name. See docs/engines.md.
"""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["NAME", "register"]

NAME = "expertile"
_TRITON = ("none", "triton")  # how SGLang finds the function that runs a layer, where no dispatcher sends tokens away


def register() -> None:
    """Registers the runner core and puts it before Triton's, where SGLANG_PLUGINS names it. Again is no error.

    An installed package alone changes nothing: without SGLANG_PLUGINS SGLang loads every plugin that it finds.
    """
    from sglang.srt.environ import envs

    if NAME in [name.strip() for name in (envs.SGLANG_PLUGINS.get() or "").split(",")]:
        _register_core()
        _put_before_triton()


def _register_core() -> None:
    from sglang.srt.layers.moe.moe_runner import register_moe_runner_core, runner

    from expertile.integrations import _sglang_runner

    if NAME not in runner._CUSTOM_RUNNER_CORE_FACTORIES:
        register_moe_runner_core(NAME, _sglang_runner.ExpertileRunnerCore)


def _put_before_triton() -> None:
    """Quantisation methods ask for Triton's runner by name, and that runs the function which is registered for it."""
    from sglang.srt.layers.moe.moe_runner.base import FusedOpPool

    from expertile.integrations import _sglang_runner

    before = FusedOpPool.get_fused_func(*_TRITON)
    if before is None or getattr(before, "has_expertile", False):
        return

    @functools.wraps(before)
    def fused_experts(dispatch_output: Any, quant_info: Any, runner_config: Any) -> Any:
        reason = _sglang_runner.why_not(dispatch_output, quant_info, runner_config)
        if reason is None:
            return _sglang_runner.run(dispatch_output, quant_info, runner_config)
        _sglang_runner.log_once(reason)
        return before(dispatch_output, quant_info, runner_config)

    fused_experts.has_expertile = True  # type: ignore[attr-defined]
    FusedOpPool._fused_funcs[_TRITON] = fused_experts
