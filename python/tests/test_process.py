"""What a process does around the calls: forks, ends, and types."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import threading

import pytest
from conftest import make_product

import expertile

HEAD = "import numpy as np, expertile\n" "a = np.ones((6, 64), np.float32); b = np.ones((3, 32, 64), np.float32)\n"
CALL = "expertile.grouped_gemm(a, b, np.array([0, 2, 6]), np.array([2, 0]))"


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HEAD + program], capture_output=True, text=True, timeout=120)


def test_a_child_of_fork_calls_as_its_parent_did() -> None:
    product = make_product("float32", None, None)
    product.check(expertile.grouped_gemm(*product.arguments))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(60)
            product.check(expertile.grouped_gemm(*product.arguments))
            expertile.GroupedGemm(3, 7, 11, dtype="float32", device="cpu")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_multiprocessing_with_fork() -> None:
    ended = run(
        "import multiprocessing as mp\n"
        f"def work(i):\n  return float({CALL}[0, 0])\n"
        f"{CALL}\n"
        "with mp.get_context('fork').Pool(2) as pool:\n  print(sum(pool.map(work, range(8))))\n"
    )
    assert ended.returncode == 0 and ended.stdout == "512.0\n", ended.stderr


def test_the_interpreter_ends_while_threads_call() -> None:
    ended = run(
        "import threading, time\n"
        f"def work():\n  while True: {CALL}\n"
        "for _ in range(4): threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(0.3)\nprint('over')\n"
    )
    assert ended.returncode == 0 and ended.stdout == "over\n", ended.stderr


def test_an_operation_may_live_to_the_end() -> None:
    ended = run(
        "import atexit\n"
        "gemm = expertile.GroupedGemm(3, 32, 64, dtype='float32', device='cpu')\n"
        "atexit.register(lambda: print(gemm(a, b, np.array([0, 2, 6]), np.array([2, 0]))[0, 0]))\n"
    )
    assert ended.returncode == 0 and ended.stdout == "64.0\n", ended.stderr


def test_importing_needs_no_array_library() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import sys, expertile; print(sorted({'numpy', 'torch', 'jax'} & set(sys.modules)))"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.stdout == "[]\n", ended.stderr


def test_many_operations_leave_nothing_behind() -> None:
    def resident() -> int:
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1])

    for _ in range(200):
        expertile.GroupedGemm(3, 32, 64, dtype="float32", device="cpu")
    before = resident()
    for _ in range(2000):
        expertile.GroupedGemm(3, 32, 64, dtype="float32", device="cpu")
    assert resident() - before < 1024  # pages


def test_threads_prepare_and_call_at_once() -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for turn in range(10):
                product = make_product("float32", None, None, seed=seed, n=16 + turn, k=8 + seed)
                product.check(expertile.grouped_gemm(*product.arguments))
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_the_stubs_name_what_is_there() -> None:
    mypy = pytest.importorskip("mypy.stubtest")
    assert mypy is not None
    ended = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "expertile._core", "--ignore-missing-stub", "--ignore-disjoint-bases"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
