"""Single files of a wheel on PyPI, read by HTTP ranges: of vLLM's 340 MB some 2 are fetched.

python3 unpack_engine.py PACKAGE VERSION DIRECTORY FILE...     VERSION: as PyPI has it, or "newest"
"""

from __future__ import annotations

import io
import json
import pathlib
import sys
import urllib.parse
import urllib.request
import zipfile
from typing import Any, Sequence

_PYPI = "https://pypi.org/"
_SECONDS = 10  # without a byte
_TAIL = 3_000_000  # where a wheel's directory is
_AHEAD = 100_000  # at least, for each range: a header and most files in one


class RangedFile(io.RawIOBase):
    """A file behind an address, for reading."""

    def __init__(self, address: str, size: int) -> None:
        self._address, self._size, self._at = address, size, 0
        self.requests = 0
        self._begin, self._bytes = size, b""
        self._fetch(max(0, size - _TAIL), size)
        self._tail_begin, self._tail = self._begin, self._bytes

    def _fetch(self, begin: int, end: int) -> None:
        self.requests += 1
        request = urllib.request.Request(self._address, headers={"Range": f"bytes={begin}-{end - 1}"})
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            if answer.status != 206:
                raise OSError(f"{self._address} answers {answer.status} to a range, not 206")
            self._begin, self._bytes = begin, answer.read()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, count: int = -1) -> bytes:
        end = self._size if count < 0 else min(self._at + count, self._size)
        if self._at >= self._tail_begin:
            begin, held = self._tail_begin, self._tail
        else:
            if not self._begin <= self._at <= end <= self._begin + len(self._bytes):
                self._fetch(self._at, min(self._size, max(end, self._at + _AHEAD)))
            begin, held = self._begin, self._bytes
        part = held[self._at - begin : end - begin]
        self._at += len(part)
        return part


def _described(address: str) -> Any:
    wanted = {"Accept": "application/vnd.pypi.simple.v1+json, application/json"}
    request = urllib.request.Request(address, headers=wanted)
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
        return json.load(answer)


def _wheel(package: str, version: str) -> RangedFile:
    address = f"{_PYPI}simple/{package}/"
    for found in _described(address)["files"]:
        if found["filename"].startswith(f"{package}-{version}-") and found["filename"].endswith(".whl"):
            return RangedFile(urllib.parse.urljoin(address, found["url"]), found["size"])
    raise OSError(f"{address} has no wheel of {package} {version}")


def unpack(package: str, version: str, directory: pathlib.Path, files: Sequence[str]) -> str:
    """Writes those files below directory, and returns the version. Raises OSError where PyPI does not answer or has no
    such wheel, KeyError where a file is not in it."""
    if version == "newest":
        version = str(_described(f"{_PYPI}pypi/{package}/json")["info"]["version"])
    with zipfile.ZipFile(_wheel(package, version)) as archive:
        for name in files:
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(name))
    return version


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    print(unpack(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4:]))
