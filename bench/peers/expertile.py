"""Runs the `expertile` program: tunes, then times what was tuned, afresh."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from .cells import PROBLEMS

SECONDS_TO_TIME = 25  # kept for what was tuned
STOPPED = 130  # what a tuning that was told to end returns; what it decided is kept


def options_of(problem, dtype):
    options = PROBLEMS[problem][4].split() + ["--dtype", dtype.replace("_block", "").replace("tf32", "float32")]
    if dtype == "fp8_w8a8_block":
        options += ["--block-shape", "128,128"]
    if dtype == "tf32":
        options += ["--tf32"]
    return options


class Expertile:
    """configs: where the tuned files are kept; beside them the routing samples of what was tuned, so that a later run
    over the same directory only times."""

    def __init__(self, program, configs):
        self.program = program
        self.configs = pathlib.Path(configs)
        self.known_file = self.configs / "peers_routings.json"
        try:
            self.known = json.loads(self.known_file.read_text())
        except (OSError, ValueError):
            self.known = {}

    def measure(self, step, deadline):
        """{batch: times, tile and routing samples} of a step; fewer batches where the time ends."""
        if step.routing != "uniform":  # one tunes for uniform routing and is served what comes
            return self._timed(step, step.batches, deadline)
        missing = [b for b in step.batches if self._key(step, b) not in self.known]
        if missing:
            self._tune(step, missing, deadline - time.monotonic() - SECONDS_TO_TIME)
        ready = [b for b in step.batches if self._key(step, b) in self.known]
        results = self._timed(step, ready, deadline) if ready else {}
        for batch, result in results.items():
            result["segments"] = self.known[self._key(step, batch)]
        return results

    @staticmethod
    def _key(step, batch):
        return f"{step.dtype} {step.problem} {batch}"

    def _tune(self, step, batches, seconds):
        tuned = self._run("tune", step, batches, max(20.0, seconds))
        if not tuned["results"]:
            raise RuntimeError("no batch size was decided in time")
        report = json.loads(pathlib.Path(tuned["file"]).with_suffix(".report.json").read_text())
        for batch, result in report["batches"].items():
            self.known[self._key(step, batch)] = result["seg_indptr"]
        self.known_file.write_text(json.dumps(self.known))

    def _timed(self, step, batches, deadline):
        seconds = max(60.0, deadline - time.monotonic())  # the last bench may end a little late
        timed = self._run("bench", step, batches, seconds)
        for r in timed["results"]:
            if r.get("match") != "exact":
                print(f"{step.dtype} {step.problem} {r['batch']}: timed with a tile that is {r.get('match')}", file=sys.stderr)
        return {r["batch"]: {"expertile": r["tuned_us"], "default": r["default_us"], "rows": r["rows"],
                             "config": r["config"], "match": r.get("match")} for r in timed["results"]}

    def _run(self, command, step, batches, seconds):
        arguments = [self.program, command, "--json", "--quiet", "--device", "cuda", "--routing", step.routing,
                     "--batch-size", ",".join(map(str, batches)), "--output-dir", str(self.configs),
                     *options_of(step.problem, step.dtype)]
        # A session of its own: the tuner measures in a process below it, and what ends one must end both.
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 start_new_session=True)
        try:
            out, err = communicate(child, seconds)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        if child.returncode not in (0, STOPPED):
            raise RuntimeError(f"{command}: {last_line(err) or f'exit status {child.returncode}'}")
        if child.returncode == STOPPED:
            print(f"{step.dtype} {step.problem}: {last_line(err)}", file=sys.stderr)
        return json.loads(out)["problems"][0]


def communicate(child, seconds):
    """A tuning that is told to end keeps what it has decided and says so."""
    try:
        return child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGTERM)
    try:
        return child.communicate(timeout=30)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError("it did not end when told to") from error


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
