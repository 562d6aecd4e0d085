"""What is measured, in which order, and what a cell moves. Plain Python: no PyTorch, no GPU."""

import random
from dataclasses import dataclass

# name: experts, N, K, top_k, and the options of `expertile tune` that make the same problem
PROBLEMS = {
    "mixtral.gate_up": (8, 28672, 4096, 2, "--hidden-size 4096 --num-experts 8 --intermediate-size 14336 --top-k 2 --projection gate_up"),
    "qwen3.gate_up": (128, 1536, 2048, 8, "--hidden-size 2048 --num-experts 128 --intermediate-size 768 --top-k 8 --projection gate_up"),
    "deepseek.gate_up": (32, 4096, 7168, 1, "--hidden-size 7168 --num-experts 32 --intermediate-size 2048 --top-k 1 --projection gate_up"),
    "mixtral.down": (8, 4096, 14336, 2, "--hidden-size 4096 --num-experts 8 --intermediate-size 14336 --top-k 2 --projection down"),
    "qwen3.down": (128, 2048, 768, 8, "--hidden-size 2048 --num-experts 128 --intermediate-size 768 --top-k 8 --projection down"),
    "deepseek.down": (32, 7168, 2048, 1, "--hidden-size 7168 --num-experts 32 --intermediate-size 2048 --top-k 1 --projection down"),
}
# The dtypes that most models are served in come first: a run may end before the last.
DTYPES = ["bfloat16", "fp8_w8a8_block", "float16", "fp8_w8a8", "int8_w8a8", "int8_w8a16", "tf32", "float32"]
BATCHES = [1, 4, 16, 64, 256, 1024, 4096, 16384]
FIRST_BATCHES = {1, 16, 256, 4096}
SKEWED = "zipf:1.2"
PREFILL_BATCH = 4096  # and more
MANY_TOKENS = 1024  # and more: where a table that is shared out is cut in two
MANY_ROWS = 1024  # an expert: where a dense product is the measure

# bytes of an element of A, B and C
SIZES = {"bfloat16": (2, 2, 2), "float16": (2, 2, 2), "float32": (4, 4, 4), "tf32": (4, 4, 4), "fp8_w8a8": (1, 1, 2),
         "fp8_w8a8_block": (1, 1, 2), "int8_w8a16": (2, 1, 2), "int8_w8a8": (1, 1, 2)}
# products a second, of bfloat16's; float32 of its accuracy takes three of tf32
RATES = {"bfloat16": 1, "float16": 1, "fp8_w8a8": 2, "fp8_w8a8_block": 2, "int8_w8a8": 2, "int8_w8a16": 1, "tf32": 1 / 2,
         "float32": 1 / 6}
CUBLAS_DTYPES = {"float16", "bfloat16", "float32", "tf32"}
TORCH_DTYPES = {"bfloat16", "fp8_w8a8"}
DEEPGEMM_DTYPES = {"bfloat16", "fp8_w8a8_block"}


@dataclass(frozen=True)
class Step:
    """One call of the tuner: a problem, a dtype and the batch sizes of a phase."""
    phase: str
    dtype: str
    problem: str
    batches: tuple
    routing: str = "uniform"


def plan(dtypes, problems, batches):
    """The most telling cells first: the budget may end before the last."""
    first = tuple(b for b in batches if b in FIRST_BATCHES)
    second = tuple(b for b in batches if b not in FIRST_BATCHES)
    prefill = tuple(b for b in batches if b >= PREFILL_BATCH)
    gate_up = [p for p in problems if p.endswith("gate_up")]
    down = [p for p in problems if not p.endswith("gate_up")]
    served = [d for d in dtypes if d in DEEPGEMM_DTYPES]
    others = [d for d in dtypes if d not in DEEPGEMM_DTYPES]
    phases = [("gate_up", dtypes, gate_up, first, "uniform"),
              ("gate_up, other batches", dtypes, gate_up, second, "uniform"),
              ("gate_up, skewed", dtypes, gate_up, prefill, SKEWED),
              ("down", served, down, first, "uniform"),
              ("down, other batches", served, down, second, "uniform"),
              ("down, other dtypes", others, down, first, "uniform"),
              ("down, other dtypes, other batches", others, down, second, "uniform")]
    return [Step(phase, dtype, problem, sizes, routing) for phase, types, names, sizes, routing in phases
            for dtype in types for problem in names if sizes]


def peers_of(dtype, rows_an_expert):
    """What can be measured beside expertile, by name."""
    names = ["triton"]
    if dtype in DEEPGEMM_DTYPES:
        names += ["deepgemm_contiguous", "deepgemm_masked"]
    if dtype in TORCH_DTYPES:
        names.append("torch")
    if dtype in CUBLAS_DTYPES:
        names += ["cublas_loop", "cublas_grouped"]
    if dtype in ("bfloat16", "float16") and rows_an_expert >= MANY_ROWS:
        names.append("dense")  # no peer, but what prefill is held against
    return names


def counts_of(segments):
    return [end - begin for begin, end in zip(segments, segments[1:])]


def traffic(problem, dtype, samples):
    """What one call moves and computes, the mean over the routing samples (each a seg_indptr)."""
    experts, n, k, _, _ = PROBLEMS[problem]
    a, b, c = SIZES[dtype]
    rows = sum(s[-1] for s in samples) / len(samples)
    active = sum(sum(1 for count in counts_of(s) if count) for s in samples) / len(samples)
    weights = active * n * k * b
    return {"rows": rows, "rows_an_expert": rows / experts, "active": active, "weight_bytes": weights,
            "bytes": weights + rows * (k * a + n * c), "flops": 2 * rows * n * k}


def likely_counts(problem, batch):
    """Rows of each expert under uniform routing, as a guess of what the tuner's samples will be."""
    experts, _, _, top_k, _ = PROBLEMS[problem]
    generator = random.Random(batch)
    counts = [0] * experts
    for _ in range(batch):
        for expert in generator.sample(range(experts), top_k):
            counts[expert] += 1
    return counts


def rounded_up(value, multiple):
    return (value + multiple - 1) // multiple * multiple


def first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
