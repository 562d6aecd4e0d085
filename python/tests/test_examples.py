"""The examples run, and the documents have them as they are."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def run(name: str, *arguments: str) -> list[str]:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *arguments], capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_the_product() -> None:
    assert run("grouped_gemm.py") == ["[64. 64. 32. 32. 32. 32.]"]


def test_a_layer_by_hand() -> None:
    (line,) = run("moe_layer.py")
    assert float(re.match(r"largest difference (\S+) of", line).group(1)) < 1e-4


def test_tuning(tmp_path: pathlib.Path) -> None:
    lines = run("tune.py", str(tmp_path))
    assert [line[:10] for line in lines[:2]] == ["batch   1:", "batch  16:"] and lines[2] == "exact"


def test_the_readme_has_the_product_as_it_is() -> None:
    code = (ROOT / "examples" / "grouped_gemm.py").read_text().split("\n\n", 1)[1]
    assert code in (ROOT / "README.md").read_text()
