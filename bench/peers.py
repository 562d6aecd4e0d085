#!/usr/bin/env python3
"""Times expertile on a GPU against what a user would pick instead, in one run and on the same routings.

    cmake --preset release && cmake --build build/release
    python3 bench/peers.py --out DIRECTORY      # the most telling cells first, until 500 seconds are over
    python3 bench/peers.py --out DIRECTORY --resume --seconds 500   # goes on where that ended
    python3 bench/peers.py --dtypes bfloat16 --batches 1,64,4096 --problems mixtral.gate_up
    python3 bench/peers.py --gpus 0,1,2,3 --out DIRECTORY           # shared out over four GPUs of one host

Peers: a plain Triton grouped GEMM of the kind that SGLang tunes (its block sizes tuned here, per cell), PyTorch's grouped
products, cuBLAS (its own grouped product, and one product an expert), and DeepGEMM where it can be imported (both forms).
Every time is the median over replays of a CUDA graph of 8 calls, each with another routing sample and, where the last
cache would hold the weights, another copy of them: as expertile's own tuner times. Needs PyTorch and Triton.
"""

import argparse
import datetime
import functools
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from peers import cells, parts, results, table  # the folder beside this file
from peers.expertile import Expertile
from peers.warm_up import WarmUp
from peers.worker import Worker, say

ROOT = pathlib.Path(__file__).resolve().parent.parent
LEAST_SECONDS = 15  # nothing is begun with less


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expertile", default=str(ROOT / "build/release/expertile"), help="the program")
    parser.add_argument("--dtypes", default=",".join(cells.DTYPES))
    parser.add_argument("--problems", default=",".join(cells.PROBLEMS), help="comma list; default: all")
    parser.add_argument("--cells", default="", help="comma list of dtype:problem, instead of the two options above")
    parser.add_argument("--batches", default=",".join(map(str, cells.BATCHES)))
    parser.add_argument("--seconds", type=float, default=500, help="what is measured by then is printed")
    parser.add_argument("--out", type=pathlib.Path, help="a directory for peers.md, peers.csv and peers.json")
    parser.add_argument("--configs", type=pathlib.Path,
                        help="a directory for the tuned files; what is tuned there is not tuned again (default OUT/configs)")
    parser.add_argument("--resume", action="store_true", help="keep the rows of OUT/peers.json and measure the others")
    parser.add_argument("--gpus", default="", help="comma list: the problems are shared out over these; needs --out. What "
                        "an earlier such run left in OUT is kept")
    parser.add_argument("--no-peers", action="store_true", help="expertile alone")
    options = parser.parse_args()
    pairs = [c.split(":") for c in options.cells.split(",") if c]
    if any(len(pair) != 2 for pair in pairs):
        parser.error("--cells: give dtype:problem, e.g. bfloat16:mixtral.gate_up")
    if options.gpus and (not options.out or options.cells or options.configs):
        parser.error("--gpus: give --out too, and neither --cells nor --configs")
    dtypes = options.dtypes.split(",") + [dtype for dtype, _ in pairs]
    problems = options.problems.split(",") + [problem for _, problem in pairs]
    unknown = [d for d in dtypes if d not in cells.DTYPES] + [p for p in problems if p not in cells.PROBLEMS]
    if unknown:
        parser.error(f"not known: {', '.join(unknown)}")
    return options


def batches_of(options):
    return sorted({int(b) for b in options.batches.split(",")})


def steps_of(options):
    batches = batches_of(options)
    if options.cells:
        pairs = [tuple(c.split(":")) for c in options.cells.split(",") if c]
        return [cells.Step("cells", dtype, problem, tuple(batches)) for dtype, problem in pairs]
    return cells.plan(options.dtypes.split(","), options.problems.split(","), batches)


def key_of(row):
    return row["dtype"], row["problem"], row["batch"], row["routing"]


def earlier_rows(options):
    if not (options.resume and options.out):
        return []
    try:
        rows = json.loads((options.out / "peers.json").read_text())
        return [row for row in rows if "routing" in row and (row["whole"] or options.no_peers)]
    except (OSError, ValueError) as error:
        say(f"nothing to resume: {cells.first_line(error)}")
        return []


@functools.lru_cache(maxsize=1)
def clocks():
    try:
        listed = subprocess.run(["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,clocks.max.mem",
                                 "--format=csv,noheader"], capture_output=True, text=True).stdout
        return next(iter(dict.fromkeys(listed.strip().splitlines())), "unknown")  # the same of every GPU
    except OSError:
        return "unknown"


@functools.lru_cache(maxsize=1)
def revision():
    """Of this checkout; empty where there is no git."""
    try:
        return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def heading(about):
    if about is None:
        return f"{datetime.date.today()}, expertile alone, driver and clocks (SM, memory) {clocks()}."
    return (f"{about['device']}, driver and clocks (SM, memory) {clocks()}, {about['versions']}, "
            f"{datetime.date.today()}. Ceilings in this run: copy {about['tbps']:.2f} TB/s, cuBLAS bfloat16 "
            f"{about['tflops']:.0f} TFLOP/s.")


def write(out, title, rows):
    written = out / "peers.json.new"
    written.write_text(json.dumps(rows, indent=1))
    os.replace(written, out / "peers.json")
    (out / "peers.md").write_text("\n".join(table.document(title, rows)) + "\n")
    (out / "peers.csv").write_text(results.csv_text(rows))


class Run:
    """One run: what it has measured, and until when it may measure."""

    def __init__(self, options, configs):
        self.options = options
        self.deadline = time.monotonic() + options.seconds
        self.rows = earlier_rows(options)
        self.known = {key_of(row) for row in self.rows}
        self.expertile = Expertile(options.expertile, configs)
        self.worker = Worker()
        self.warm_up = WarmUp()
        self.about = None

    def seconds_left(self):
        return self.deadline - time.monotonic()

    def write(self):
        """After every row, so that a run that is cut off leaves what it measured."""
        if self.options.out:
            write(self.options.out, heading(self.about), self.rows)

    def measure(self, steps):
        if not self.options.no_peers:
            self.about = self.worker.about()
            if self.about and self.about["no_deepgemm"]:
                say(self.about["no_deepgemm"])
                self.worker.left_out |= {"deepgemm_contiguous", "deepgemm_masked"}
        for phase in dict.fromkeys(step.phase for step in steps):
            todo = [left for step in steps if step.phase == phase for left in self._left_of(step)]
            if todo and not self.options.no_peers and self.seconds_left() > LEAST_SECONDS:
                self.worker.stop()  # the compilers' processes want the memory
                self._compile(todo)
            for step in todo:
                if self.seconds_left() < LEAST_SECONDS:
                    say("the time is over: the table has what was measured")
                    return
                self._measure_step(step)

    def _compile(self, steps):
        try:
            self.warm_up.run(steps, "deepgemm_masked" not in self.worker.left_out, 0.5 * self.seconds_left())
        except Exception as error:  # what is not compiled now is compiled when it is called
            say(f"compiling: {cells.first_line(error)}")

    def _left_of(self, step):
        batches = tuple(b for b in step.batches if (step.dtype, step.problem, b, step.routing) not in self.known)
        return [cells.Step(step.phase, step.dtype, step.problem, batches, step.routing)] if batches else []

    def _measure_step(self, step):
        begin = time.monotonic()
        try:
            ours = self.expertile.measure(step, self.deadline)
        except Exception as error:
            say(f"{step.dtype} {step.problem}: expertile: {cells.first_line(error)}")
            return
        say(f"{step.dtype} {step.problem} {step.routing}: expertile took {time.monotonic() - begin:.0f} s, "
            f"{self.seconds_left():.0f} s are left")
        for batch, result in ours.items():
            row = dict(dtype=step.dtype, problem=step.problem, batch=batch, routing=step.routing, whole=True,
                       gpu=self.about["device"] if self.about else "", date=str(datetime.date.today()), revision=revision(),
                       run=self.options.out.resolve().name if self.options.out else "")
            segments = result.pop("segments", None)
            row |= result
            if segments:
                row |= cells.traffic(step.problem, step.dtype, segments)
                if not self.options.no_peers:
                    row["whole"] = self.seconds_left() > 0  # where the time is over, --resume measures it again
                    self._measure_peers(row, segments)
            row["copy_tbps"] = self.about["tbps"] if self.about else None
            row["dense_tflops"] = self.about["tflops"] if self.about else None
            self.rows.append(table.complete(row))
            self.write()
            say(one_line(row))

    def _measure_peers(self, row, segments):
        peers = cells.peers_of(row["dtype"], row["rows_an_expert"])
        title = f"{row['dtype']} {row['problem']} {row['batch']}"
        job = dict(problem=row["problem"], dtype=row["dtype"], segments=segments)
        silence = max(30.0, min(90.0, self.seconds_left() + 30))
        for name, result in self.worker.run_cell(title, job, peers, silence, self.deadline + 30).items():
            row[name] = result.pop("us")
            row |= {f"{name}_{detail}": value for detail, value in result.items()}


def one_line(row):
    peers = " ".join(f"{name} {table.number(row.get(name))}" for name in (*table.PEERS, "dense") if row.get(name))
    return f"{row['dtype']} {row['problem']} {row['batch']} {row['routing']}: expertile {row['expertile']:.1f} " \
           f"default {row['default']:.1f} {peers}"


def share_out(options):
    """Every part by a process of its own, and one table of all."""
    gpus = list(dict.fromkeys(options.gpus.split(",")))
    shared = parts.parts_of(options.out, options.problems.split(","), batches_of(options), options.dtypes.split(","))
    parts.run_parts(parts.command_of(options), shared, gpus, options.seconds)
    rows = [row for part in shared for row in part.rows()]
    title = parts.heading(shared, gpus)
    write(options.out, title, rows)
    print("\n".join(table.document(title, rows)))


def main():
    options = parse()
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    if options.gpus:
        share_out(options)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as temporary:
        configs = options.configs or (options.out / "configs" if options.out else pathlib.Path(temporary))
        configs.mkdir(parents=True, exist_ok=True)
        run = Run(options, configs)
        try:
            run.measure(steps_of(options))
        except KeyboardInterrupt:
            say("stopped: the table has what was measured")
        finally:
            run.worker.stop()
        print("\n".join(table.document(heading(run.about), run.rows)))
        run.write()


if __name__ == "__main__":
    main()
