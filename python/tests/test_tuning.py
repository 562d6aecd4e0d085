"""Tuning from Python, on the CPU with a tiny problem."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import expertile

TINY = dict(
    hidden_size=64, num_experts=2, intermediate_size=32, dtype="float32", batch_size=[1, 4], projection="gate_up",
    device="cpu", threads=1,
)  # fmt: skip


def test_tuning_writes_the_file_that_the_call_finds(tmp_path: pathlib.Path) -> None:
    seen: list[dict[str, Any]] = []
    decided: list[int] = []
    rows = expertile.tune(
        **TINY, output_dir=tmp_path, progress=seen.append, decided=lambda batch: decided.append(batch["batch"]),
        warning=lambda line: None,
    )  # fmt: skip
    assert [row["batch"] for row in rows] == decided == [1, 4]
    assert all(row["projection"] == "gate_up" and row["tuned_us"] > 0 and row["BLOCK_SIZE_M"] > 0 for row in rows)
    assert seen and seen[-1]["share_done"] == 1 and seen[-1]["done"] == seen[-1]["all"] == 2
    shares = [at["share_done"] for at in seen]
    assert shares == sorted(shares)
    file = json.loads(pathlib.Path(rows[0]["file"]).read_text())
    assert file["4"]["BLOCK_SIZE_M"] == rows[1]["BLOCK_SIZE_M"]
    gemm = expertile.GroupedGemm(2, 64, 64, dtype="float32", device="cpu", threads=1, config_dir=tmp_path)
    assert gemm.selection(8)["match"] == "exact"
    shown = expertile.show(**TINY, output_dir=tmp_path)
    assert [row["match"] for row in shown] == ["exact", "exact"]


def test_results_are_flat(tmp_path: pathlib.Path) -> None:
    rows = expertile.bench(**TINY, output_dir=tmp_path, warning=lambda line: None)
    for row in rows:
        assert all(isinstance(value, (str, int, float, bool, tuple, type(None))) for value in row.values()), row


def test_a_dry_run_writes_nothing(tmp_path: pathlib.Path) -> None:
    rows = expertile.tune(**TINY, output_dir=tmp_path, dry_run=True)
    assert len(rows) == 1 and rows[0]["file"].startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_a_callback_raises_ends_the_run_and_keeps_what_was_decided(tmp_path: pathlib.Path) -> None:
    def stop(batch: dict[str, Any]) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        expertile.tune(**TINY, output_dir=tmp_path, decided=stop, warning=lambda line: None)
    (file,) = tmp_path.rglob("grouped_gemm_config_64_float32.json")
    assert set(json.loads(file.read_text())) == {"1", "metadata"}


def test_tuning_in_processes_of_its_own(tmp_path: pathlib.Path) -> None:
    rows = expertile.tune(**{**TINY, "batch_size": 1}, output_dir=tmp_path, isolate=True, warning=lambda line: None)
    assert len(rows) == 1 and rows[0]["tuned_us"] > 0


def test_other_threads_of_python_go_on_meanwhile(tmp_path: pathlib.Path) -> None:
    ticks = 0
    over = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not over.wait(0.01):
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    expertile.tune(**{**TINY, "batch_size": 1}, output_dir=tmp_path, warning=lambda line: None)
    over.set()
    thread.join()
    assert ticks > 10


def test_the_module_is_the_tool() -> None:
    run = subprocess.run([sys.executable, "-m", "expertile", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"expertile {expertile.__version__}\n"
    run = subprocess.run([sys.executable, "-m", "expertile", "tune", "--bogus"], capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr.startswith("expertile: option '--bogus' is not known")


def test_options_may_be_numpys_numbers() -> None:
    rows = expertile.show(hidden_size=np.int64(64), batch_size=[np.int32(8)], device="cpu", projection="down")
    assert [row["batch"] for row in rows] == [8]
