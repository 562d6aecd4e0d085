"""Tuning from Python: the options of the command line as keyword arguments, results as a list of flat dicts."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Callable, Optional, Union

from expertile import _arrays, _core

__all__ = ["bench", "show", "tune"]

Progress = Union[None, bool, Callable[[dict[str, Any]], object]]
Line = Optional[Callable[[str], object]]


def tune(
    *,
    progress: Progress = None,
    decided: Optional[Callable[[dict[str, Any]], object]] = None,
    notice: Line = None,
    warning: Line = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Finds the best tile for each batch size and writes the file that the library finds by itself.

    options: those of `expertile tune`, by the same names with underscores: model, hidden_size, dtype, batch_size (a
    number or a list), block_shape, num_experts, top_k, intermediate_size, tp_size, ep_size, projection, routing, seed,
    device, threads, output_dir, tf32=True, dry_run=True, no_tune=True, ... None means not given.

    progress: True for a line on standard error (tqdm's bar where tqdm is installed), or a function that is called after
    each timing with a dict: projection, tile, batch, best_us, share_done (0 to 1), seconds_left, done, all.
    decided: called with a dict as soon as a batch size is decided and on disk. notice, warning: called with a line;
    warnings go to the `warnings` module where no function is given.

    Returns one dict a projection and batch size, all flat: pandas.DataFrame(expertile.tune(...)) is a table. Times are
    microseconds a call. With dry_run, one dict a projection, with the file to come.

    Raises expertile.Error. Ctrl-C, and whatever a callback raises, ends the run; what was decided is kept in the file.
    """
    words = _words(options)
    program = [sys.executable, "-m", "expertile"] if sys.executable else []
    _arrays.offer_nvrtc()
    with _Events(progress, decided, notice, warning) as events:
        return _rows(_core.tune(words, program, events))


def bench(
    *,
    progress: Progress = None,
    decided: Optional[Callable[[dict[str, Any]], object]] = None,
    notice: Line = None,
    warning: Line = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Times what calls would run with: `expertile bench`. Arguments and result as of tune; writes nothing."""
    words = _words(options)
    _arrays.offer_nvrtc()
    with _Events(progress, decided, notice, warning) as events:
        return _rows(_core.bench(words, events))


def show(*, notice: Line = None, warning: Line = None, **options: Any) -> list[dict[str, Any]]:
    """Which file and tile calls would get, and why: `expertile show`. Times nothing and opens no GPU."""
    with _Events(None, None, notice, warning) as events:
        return _rows(_core.show(_words(options), events))


# ---- options ---------------------------------------------------------------------------------------------------------


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    if isinstance(value, (list, tuple)):
        return ",".join(_text(name, one) for one in value)
    if isinstance(value, (int, float)) or hasattr(value, "__index__"):
        return str(value)
    raise _core.InvalidArgument(
        f"{name} is a {type(value).__qualname__}, it must be a str, a number, a bool, a path or a list of these"
    )


def _words(options: dict[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in options.items():
        if value is not None:
            words += [name, _text(name, value)]
    return words


# ---- results ---------------------------------------------------------------------------------------------------------


def _rows(document: str) -> list[dict[str, Any]]:
    """A dict a result, with what its projection is before it; of a list a tuple, of a tile its fields."""
    rows = []
    for problem in json.loads(document)["problems"]:
        results = problem.pop("results", None) or problem.pop("selections", None)
        shared = {name: tuple(value) if isinstance(value, list) else value for name, value in problem.items()}
        for result in [{}] if results is None else results:
            tile = result.pop("config", {})
            rows.append({**shared, **result, **tile})
    return rows


# ---- events ----------------------------------------------------------------------------------------------------------


class _Events:
    """What the extension calls."""

    def __init__(
        self,
        progress: Progress,
        decided: Optional[Callable[[dict[str, Any]], object]],
        notice: Line,
        warning: Line,
    ) -> None:
        self._progress = progress if callable(progress) else None
        self._decided = decided
        self._notice = notice
        self._warning = warning
        self._bar = _Bar() if progress is True else None

    def __enter__(self) -> "_Events":
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def notice(self, line: str) -> None:
        if self._notice is not None:
            self._notice(line)

    def warning(self, line: str) -> None:
        if self._warning is not None:
            self._warning(line)
            return
        import warnings

        warnings.warn(line, RuntimeWarning, stacklevel=4)

    def step(self, line: str) -> None:
        if self._bar is not None:
            self._bar.describe(line)

    def progress(self, at: dict[str, Any]) -> None:
        if self._bar is not None:
            self._bar.update(at)
        if self._progress is not None:
            self._progress(at)

    def decided(self, batch: dict[str, Any]) -> None:
        if self._decided is not None:
            self._decided(batch)


class _Bar:
    """tqdm's bar, or a line that is written over."""

    def __init__(self) -> None:
        self._text = ""
        try:
            from tqdm.auto import tqdm
        except ImportError:
            self._bar: Any = None
        else:
            self._bar = tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {postfix}")

    def describe(self, line: str) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(line)
        else:
            self._write(line)

    def update(self, at: dict[str, Any]) -> None:
        text = (
            f"{at['projection']} batch {at['batch']}: best {at['best_us']:.1f} us, "
            f"{at['done']} of {at['all']} done, {at['seconds_left']:.0f} s left"
        )
        if self._bar is not None:
            self._bar.n = round(100 * at["share_done"], 1)
            self._bar.set_postfix_str(text)
        else:
            self._write(f"{at['share_done']:4.0%}  {text}")

    def _write(self, text: str) -> None:
        sys.stderr.write("\r" + text.ljust(len(self._text)))
        sys.stderr.flush()
        self._text = text

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._text:
            sys.stderr.write("\n")
