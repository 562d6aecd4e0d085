"""The table shared out over several GPUs of one host: a part at a time on one of them, each part a run of peers.py of its
own. A part holds one problem's prefill or its smaller batches in every dtype, so that all that is compared with each
other was measured on one card; a part that is resumed goes on with the card that it began on."""

import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import time

from . import cells
from .worker import say

LEAST_SECONDS = 60  # no part is begun with less
LATE_SECONDS = 90   # a run ends by itself, but for the cell in hand


class Part:
    def __init__(self, out, problem, kind, batches, dtypes):
        self.name = f"{problem}.{kind}"
        self.arguments = ["--problems", problem, "--batches", ",".join(map(str, batches)), "--dtypes", ",".join(dtypes)]
        self.folder = out / "parts" / self.name
        steps = cells.plan(dtypes, [problem], batches)
        self.cells = sum(len(step.batches) for step in steps)

    def rows(self):
        try:
            return json.loads((self.folder / "peers.json").read_text())
        except (OSError, ValueError):
            return []

    def heading(self):
        """What the run says of the machine: its table's first line, or nothing."""
        try:
            return (self.folder / "peers.md").read_text().split("\n")[0]
        except OSError:
            return ""

    def is_complete(self):
        return sum(1 for row in self.rows() if row["whole"]) >= self.cells

    def gpu(self):
        """The card that it began on, or None."""
        try:
            return (self.folder / "gpu").read_text().strip()
        except OSError:
            return None


def parts_of(out, problems, batches, dtypes):
    """The longest first: prefill before the small batches."""
    kinds = [("prefill", [b for b in batches if b >= cells.MANY_TOKENS]),
             ("small", [b for b in batches if b < cells.MANY_TOKENS])]
    return [Part(pathlib.Path(out), problem, kind, chosen, dtypes) for kind, chosen in kinds if chosen for problem in problems]


class Shared:
    """Gives each GPU its next part, its own begun ones first."""

    def __init__(self, parts, gpus):
        self.own = {gpu: [] for gpu in gpus}
        self.others = queue.SimpleQueue()
        for part in parts:
            if part.is_complete():
                continue
            if part.gpu() in self.own:
                self.own[part.gpu()].append(part)
            else:
                self.others.put(part)

    def next_for(self, gpu):
        if self.own[gpu]:
            return self.own[gpu].pop(0)
        try:
            return self.others.get_nowait()
        except queue.Empty:
            return None


def run_part(command, part, gpu, seconds):
    part.folder.mkdir(parents=True, exist_ok=True)
    (part.folder / "gpu").write_text(f"{gpu}\n")
    with open(part.folder / "log", "a") as log:
        child = subprocess.Popen([*command, *part.arguments, "--seconds", f"{seconds:.0f}", "--out", str(part.folder),
                                  "--resume"], stdout=log, stderr=log, env=os.environ | {"CUDA_VISIBLE_DEVICES": gpu})
        try:
            child.wait(timeout=seconds + LATE_SECONDS)
        except subprocess.TimeoutExpired:
            child.terminate()
            child.wait()


def run_parts(command, parts, gpus, seconds):
    """Runs them all until the time is over; what each wrote stands in its folder."""
    shared = Shared(parts, gpus)
    deadline = time.monotonic() + seconds
    stopped = threading.Event()

    def work(gpu):
        while not stopped.is_set() and (left := deadline - time.monotonic()) > LEAST_SECONDS \
                and (part := shared.next_for(gpu)):
            say(f"GPU {gpu}: {part.name}, {left:.0f} s are left")
            run_part(command, part, gpu, left)
            say(f"GPU {gpu}: {part.name} has {len(part.rows())} of {part.cells} cells")

    threads = [threading.Thread(target=work, args=(gpu,)) for gpu in gpus]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:  # the runs got it too, and end with what they have
        stopped.set()
        for thread in threads:
            thread.join()


def command_of(options):
    """peers.py as each part runs it."""
    command = [sys.executable, str(pathlib.Path(sys.argv[0]).resolve()), "--expertile", options.expertile]
    return command + (["--no-peers"] if options.no_peers else [])


def heading(parts, gpus):
    first = next((part.heading() for part in parts if part.heading()), "nothing was measured")
    return f"{len(gpus)} GPUs of one host, each part of the table on one of them. The first: {first}"
