"""How long a call takes on the GPU, and what the GPU can do at most."""

import torch

CALLS = 8  # in a graph: every routing sample twice, as expertile's own tuner times
LOAD_US = 4e5  # of full load, after which the power limit shows: expertile's own races are longer than that


def between_events(work):
    """Microseconds of what `work` enqueues."""
    begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) * 1e3


def captured(work, mode="global"):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode=mode):
        for call in work:
            call()
    return graph


def run_once(work):
    """Compiles, loads and allocates what the calls need before they are captured or timed."""
    for call in work:
        call()
    torch.cuda.synchronize()


def median(values):
    return sorted(values)[len(values) // 2]


def time_graph(make_call, calls=CALLS, replays=15, mode="global", load_us=0.0):
    """Microseconds a call, the median over replays of a graph. make_call() returns a function that enqueues one call.
    load_us: how long it runs before."""
    work = [make_call()]
    run_once(work)
    once = between_events(work[0])
    if once > 5e3:
        calls = min(calls, 4)  # every routing sample once
    work += [make_call() for _ in range(calls - 1)]
    run_once(work)
    replays = max(3, min(replays, int(4e5 / (once * calls))))
    graph = captured(work, mode)
    for _ in range(1 + int(load_us / (once * calls))):
        graph.replay()
    us = median([between_events(graph.replay) / calls for _ in range(replays)])
    graph.reset()
    return us


def time_quickly(make_call, calls):
    """For ranking only: the better of two replays of a small graph."""
    work = [make_call() for _ in range(calls)]
    run_once(work[:1])
    graph = captured(work)
    us = min(between_events(graph.replay) / calls for _ in range(2))
    graph.reset()
    return us


def time_eagerly(make_call, calls=CALLS, rounds=7):
    """For what cannot be captured: calls in a row behind a kernel that sleeps while the host enqueues them."""
    work = [make_call() for _ in range(calls)]
    run_once(work)
    times = []
    for _ in range(rounds):
        torch.cuda._sleep(4_000_000)  # about two milliseconds
        times.append(between_events(lambda: run_all(work)) / calls)
    return median(times)


def run_all(work):
    for call in work:
        call()


def ceilings():
    """TFLOP/s of a dense bfloat16 product, TB/s of a copy."""
    size = 8192
    x, y = (torch.randn((size, size), dtype=torch.bfloat16, device="cuda") for _ in range(2))
    matmul = time_graph(lambda: (lambda: torch.mm(x, y)), calls=4, load_us=LOAD_US)
    source = torch.empty(1 << 30, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    copy = time_graph(lambda: (lambda: torch.mul(source, 1.0, out=target)), calls=2)
    return 2 * size**3 / matmul * 1e-6, 8 * source.numel() / copy * 1e-6
