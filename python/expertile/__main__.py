"""`python -m expertile`: the command-line tool, with the arguments of `expertile`."""

from __future__ import annotations

import signal
import sys

from expertile import _arrays, _core


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the tool has its own way of stopping
    _arrays.offer_nvrtc()
    return _core.command_line(["expertile", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
