"""What a call costs from Python, beside the same call from C++ (bench_host_cost): medians of 10,000.

    PYTHONPATH=build/release/python python3 bench/python_cost.py [--device cuda] [--cpp build/release/bench/bench_host_cost]

On a GPU the calls are enqueued and every 64th is waited for; on a CPU the product is next to nothing. PyTorch's tensors
where PyTorch is installed, else NumPy's. Each figure is taken three times; the least median counts.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import time
from typing import Any, Callable

import expertile


def median_us(call: Callable[[], Any], wait: Callable[[], Any], count: int = 10_000) -> float:
    medians = []
    for _ in range(3):
        times = []
        for i in range(count):
            if i % 64 == 0:
                wait()
            begin = time.perf_counter_ns()
            call()
            times.append(time.perf_counter_ns() - begin)
        medians.append(sorted(times)[count // 2] / 1e3)
    return min(medians)


def cases(device: str) -> tuple[dict[str, Callable[[], Any]], Callable[[], Any]]:
    rows, experts, size = (16, 8, 1024) if device == "cuda" else (1, 1, 16)
    try:
        import torch
    except ImportError:
        import ml_dtypes
        import numpy as np

        def make(*shape: int) -> Any:
            return np.ones(shape, ml_dtypes.bfloat16)

        segments, indices = np.array([0, rows]), np.array([0])
        wait: Callable[[], Any] = lambda: None  # noqa: E731
        operator = None
    else:
        import expertile.torch

        def make(*shape: int) -> Any:
            return torch.ones(shape, dtype=torch.bfloat16, device=device)

        segments = torch.tensor([0, rows], device=device)
        indices = torch.tensor([0], device=device)
        wait = torch.cuda.synchronize if device == "cuda" else lambda: None
        operator = torch.ops.expertile
    a, b, out = make(rows, size), make(experts, size, size), make(rows, size)
    gemm = expertile.GroupedGemm(experts, size, size, dtype="bfloat16", device=device, threads=1)
    all_cases = {
        "GroupedGemm, out given": lambda: gemm(a, b, segments, indices, out=out),
        "GroupedGemm, new out": lambda: gemm(a, b, segments, indices),
        "grouped_gemm, out given": lambda: expertile.grouped_gemm(a, b, segments, indices, out=out),
    }
    if operator is not None:
        all_cases["torch.ops.expertile.grouped_gemm_out"] = lambda: operator.grouped_gemm_out(
            a, b, segments, indices, out=out
        )
        all_cases["torch.ops.expertile.grouped_gemm"] = lambda: operator.grouped_gemm(a, b, segments, indices)
        all_cases["torch.empty alone"] = lambda: torch.empty((rows, size), dtype=torch.bfloat16, device=device)
    return all_cases, wait


def cpp_us(program: str, device: str) -> float:
    lines = subprocess.run([program, "--device", device], capture_output=True, text=True, check=True).stdout
    found = [float(us) for us in re.findall(r"^call, (?!.*through C).*\b1 operation alive\s+([0-9.]+) us$", lines, re.M)]
    return found[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--cpp", help="bench_host_cost, whose first call is the one to compare with")
    options = parser.parse_args()
    all_cases, wait = cases(options.device)
    base = cpp_us(options.cpp, options.device) if options.cpp else None
    if base is not None:
        print(f"{'C++':<40}{base:8.2f} us")
    for name, call in all_cases.items():
        call()
        taken = median_us(call, wait)
        above = "" if base is None else f"   {taken - base:+6.2f} us above C++"
        print(f"{name:<40}{taken:8.2f} us{above}")


if __name__ == "__main__":
    main()
