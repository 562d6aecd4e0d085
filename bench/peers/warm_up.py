"""Kernels are compiled before the cells that need them, in processes side by side, while nothing is timed."""

import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor, wait

from . import cells
from .triton_configs import configurations

MOST_SECONDS = 240


def triton_jobs(steps):
    """The dtypes and block sizes of all cells; N and K are no part of a kernel."""
    found = []
    for step in steps:
        experts, _, _, top_k, _ = cells.PROBLEMS[step.problem]
        for batch in step.batches:
            found += [(step.dtype, config) for config in configurations(step.dtype, batch * top_k / experts)]
    return [job for at, job in enumerate(found) if job not in found[:at]]


def deepgemm_jobs(steps):
    """Its kernels are made for N, K, the experts and a tile that it chooses by the rows, which are guessed here: a wrong
    guess is made good at the first call."""
    jobs = []
    for step in steps:
        if step.dtype in cells.DEEPGEMM_DTYPES:
            for batch in step.batches:
                counts = cells.likely_counts(step.problem, batch)
                jobs += [(step.dtype, step.problem, form, counts) for form in ("contiguous", "masked")]
    return jobs


def compile_triton(job):
    from .triton_kernel import compile_one
    return compile_one(job)


def compile_deepgemm(job):
    from .deepgemm import compile_one
    return compile_one(job)


def be_quiet():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the asking process ends this one
    os.dup2(2, 1)  # standard output is the table's


class WarmUp:
    def __init__(self):
        self.done = set()

    def run(self, steps, with_deepgemm, seconds):
        """Compiles what the steps need and no earlier call compiled."""
        steps = [s for s in steps if s.routing == "uniform"]
        kinds = [("Triton", compile_triton, triton_jobs(steps))]
        if with_deepgemm:
            kinds.append(("DeepGEMM", compile_deepgemm, deepgemm_jobs(steps)))
        work = []
        for name, function, jobs in kinds:
            jobs = [job for job in jobs if repr(job) not in self.done]
            self.done |= {repr(job) for job in jobs}
            if jobs:
                work.append((name, function, jobs))
        if work:
            compile_all(work, min(MOST_SECONDS, seconds))


def compile_all(work, seconds):
    """A pool for each kind, so that a crash of one is not the other's. What is not compiled in time is compiled when it
    is called."""
    begin = time.monotonic()
    context = multiprocessing.get_context("spawn")
    workers = max(1, min(16, os.cpu_count() or 1) // len(work))
    pools, futures = [], []
    try:
        for name, function, jobs in work:
            pool = ProcessPoolExecutor(min(workers, len(jobs)), context, initializer=be_quiet)
            pools.append(pool)
            futures += [(name, pool.submit(function, job)) for job in jobs]
        finished, late = wait([future for _, future in futures], timeout=seconds)
        report(futures, finished, time.monotonic() - begin)
    finally:
        for pool in pools:
            end(pool)


def report(futures, finished, seconds):
    failed = []
    for name, future in futures:
        if future not in finished:
            failed.append(f"{name}: not in time")
        elif future.exception() is not None:
            failed.append(f"{name}: {cells.first_line(future.exception())}")
        elif future.result():
            failed.append(future.result())
    print(f"compiled {len(futures) - len(failed)} of {len(futures)} kernels in {seconds:.0f} s", file=sys.stderr, flush=True)
    for line in list(dict.fromkeys(failed))[:8]:
        print(f"not compiled: {line}", file=sys.stderr, flush=True)


def end(pool):
    """At once: the processes' memory on the GPU is wanted."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()
    for process in processes:
        process.join(10)
