"""The peers run in a process of their own: one that hangs, crashes or breaks the GPU's context costs its own cell alone,
and the memory is free while expertile runs. The process that asks never imports PyTorch."""

import multiprocessing
import os
import signal
import sys
import time

from .cells import first_line

MOST_DEATHS = 2  # of one peer, before it is left out
STALE = "a capture failed; the next peers run in a new process"


def say(line):
    print(line, file=sys.stderr, flush=True)


# ---- in the worker --------------------------------------------------------------------------------------------------

def peer_functions():
    from . import cublas, deepgemm, torch_peers, triton_kernel
    return {"triton": triton_kernel.best_triton, "torch": torch_peers.grouped, "cublas_loop": torch_peers.loop,
            "cublas_grouped": cublas.cublas_grouped, "deepgemm_contiguous": deepgemm.contiguous,
            "deepgemm_masked": deepgemm.masked, "dense": torch_peers.dense}


def about_the_machine():
    import torch
    import triton

    from . import deepgemm, timing
    tflops, tbps = timing.ceilings()
    missing = None
    try:
        version = f"DeepGEMM {getattr(deepgemm.module(), '__version__', 'of unknown version')}"
    except deepgemm.Unavailable as error:
        version = "no DeepGEMM"
        missing = first_line(error)
    return {"device": torch.cuda.get_device_properties(0).name, "tflops": tflops, "tbps": tbps, "no_deepgemm": missing,
            "versions": f"PyTorch {torch.__version__}, Triton {triton.__version__}, {version}"}


def why_unfit():
    """None, or why this process can measure nothing more."""
    import torch
    try:
        torch.cuda.synchronize()
    except Exception as error:
        return f"it broke the GPU's context: {first_line(error)}"
    # PyTorch leaves a capture that failed neither by its stream nor by its memory pool.
    return None if torch.cuda.current_stream() == torch.cuda.default_stream() else STALE


def run_peer(cell, name, eagerly):
    """A message for the asking process."""
    from .deepgemm import Unavailable
    function = peer_functions()[name]
    try:
        result = function(cell, True) if name == "cublas_grouped" and eagerly else function(cell)
        return ("result", name, result)
    except Unavailable as error:
        return ("unavailable", name, first_line(error))
    except Exception as error:
        return ("failed", name, first_line(error))


def run_cell(job, send):
    """Every peer's message; returns why this process is of no more use, or None."""
    import torch

    from .tensors import Cell
    cell = Cell(job["problem"], job["dtype"], job["segments"])
    for name in job["peers"]:
        send(("begin", name))
        send(run_peer(cell, name, job["eagerly"]))
        unfit = why_unfit()
        if unfit:
            return unfit
        torch.cuda.empty_cache()
    return None


def serve(pipe):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the asking process ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(2, 1)  # standard output is the table's
    while True:
        job = pipe.recv()
        if job is None:
            return
        try:
            unfit = None
            if job["kind"] == "about":
                pipe.send(("about", about_the_machine()))
            else:
                unfit = run_cell(job, pipe.send)
            pipe.send(("done", unfit))
        except Exception as error:
            pipe.send(("died", first_line(error)))
        free_memory()


def free_memory():
    import gc

    import torch
    try:
        gc.collect()
        torch.cuda.empty_cache()
    except Exception:
        pass  # the next job will say so


# ---- in the asking process ------------------------------------------------------------------------------------------

class Worker:
    def __init__(self, target=serve):
        self.target = target
        self.process = None
        self.deaths = {}  # peer -> how often it took the process along
        self.left_out = set()
        self.eagerly = False  # cuBLAS's grouped product cannot be captured

    def start(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=self.target, args=(other,), daemon=True)
        self.process.start()
        other.close()

    def stop(self):
        if self.process is None:
            return
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(5)
        self.pipe.close()
        self.process = None

    def messages(self, job, silence):
        """What the worker says to a job: ("done", ...) is the last word, or ("died", why)."""
        if self.process is None:
            self.start()
        try:
            self.pipe.send(job)
            message = None
            while message is None or message[0] not in ("done", "died"):
                if not self.pipe.poll(silence):
                    yield ("died", f"no word for {silence:.0f} s")
                    return
                message = self.pipe.recv()
                yield message
        except (EOFError, OSError):
            self.process.join(5)
            yield ("died", f"the process ended with status {self.process.exitcode}")

    def about(self, silence=180):
        """The machine and its limits; None where that cannot be had."""
        found = None
        for message in self.messages({"kind": "about"}, silence):
            if message[0] == "about":
                found = message[1]
            elif message[0] == "died":
                say(f"the GPU's own limits: {message[1]}")
                self.stop()
        return found

    def run_cell(self, title, job, peers, silence, deadline):
        """{peer: what it returned} for one cell; a line on standard error for each that failed."""
        results = {}
        wanted = [p for p in peers if p not in self.left_out]
        while wanted and time.monotonic() < deadline:
            wanted = self._attempt(title, job, wanted, silence, results)
        return results

    def _attempt(self, title, job, wanted, silence, results):
        """Runs `wanted` in one process. Returns those that another one must run."""
        in_hand = None
        for message in self.messages(dict(job, kind="cell", peers=wanted, eagerly=self.eagerly), silence):
            kind, about = message[0], message[1]
            if kind == "begin":
                in_hand = about
                continue
            if kind in ("result", "failed", "unavailable"):
                wanted = [p for p in wanted if p != about]
            if kind == "result":
                results[about] = message[2]
                self.eagerly = self.eagerly or message[2].get("how") == "eager"
            elif kind == "failed":
                say(f"{title} {about}: {message[2]}")
            elif kind == "unavailable":
                say(f"{title} {about}: {message[2]}")
                family = about.split("_")[0]
                self.left_out |= {p for p in wanted + [about] if p.split("_")[0] == family}
                wanted = [p for p in wanted if p not in self.left_out]
            elif kind == "died" or about:
                say(f"{title} {in_hand or 'tensors'}: {about}")
                self.stop()
                if in_hand is None:
                    return []  # the tensors cannot even be made
                if about != STALE:
                    self._count_death(in_hand)
                    results.pop(in_hand, None)
                wanted = [p for p in wanted if p != in_hand]
        return wanted if self.process is None else []

    def _count_death(self, name):
        self.deaths[name] = self.deaths.get(name, 0) + 1
        self.eagerly = self.eagerly or name == "cublas_grouped"  # its replays may be what went wrong
        if self.deaths[name] >= MOST_DEATHS:
            self.left_out.add(name)
            say(f"{name} is left out from here on")
