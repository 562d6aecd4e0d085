#!/usr/bin/env python3
"""Times expertile on a GPU against what a user would pick instead, in one run and on the same routings.

    cmake --preset release && cmake --build build/release
    python3 bench/peers.py                      # everything, about ten minutes on an H200
    python3 bench/peers.py --dtypes bfloat16 --batches 1,64,4096 --problems mixtral.gate_up

Peers: a plain Triton grouped GEMM of the kind that SGLang tunes (its block sizes tuned here, per batch size),
torch._grouped_mm, torch._scaled_grouped_mm, and one cuBLAS matmul per expert. Every time is the median over replays of
a CUDA graph of 8 calls, each with another routing sample and, as far as 25% of the memory allows, another copy of the
weights, so that the last cache never holds them: as expertile's own tuner times. Needs PyTorch and Triton.
"""

import argparse
import datetime
import itertools
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor

import torch
import triton
import triton.language as tl

ROOT = pathlib.Path(__file__).resolve().parent.parent
CALLS = 8  # in a graph

# name: experts, N, K, top_k, and the options of `expertile tune` that make the same problem
PROBLEMS = {
    "mixtral.gate_up": (8, 28672, 4096, 2, "--hidden-size 4096 --num-experts 8 --intermediate-size 14336 --top-k 2 --projection gate_up"),
    "mixtral.down": (8, 4096, 14336, 2, "--hidden-size 4096 --num-experts 8 --intermediate-size 14336 --top-k 2 --projection down"),
    "qwen3.gate_up": (128, 1536, 2048, 8, "--hidden-size 2048 --num-experts 128 --intermediate-size 768 --top-k 8 --projection gate_up"),
    "qwen3.down": (128, 2048, 768, 8, "--hidden-size 2048 --num-experts 128 --intermediate-size 768 --top-k 8 --projection down"),
    "deepseek.gate_up": (32, 4096, 7168, 1, "--hidden-size 7168 --num-experts 32 --intermediate-size 2048 --top-k 1 --projection gate_up"),
    "deepseek.down": (32, 7168, 2048, 1, "--hidden-size 7168 --num-experts 32 --intermediate-size 2048 --top-k 1 --projection down"),
}
DTYPES = ["float16", "bfloat16", "float32", "tf32", "fp8_w8a8", "fp8_w8a8_block", "int8_w8a16", "int8_w8a8"]
FOR_OTHERS = ["mixtral.gate_up", "qwen3.gate_up", "deepseek.gate_up"]  # of the dtypes but bfloat16


# ---- the plain Triton kernel ----------------------------------------------------------------------------------------

@triton.jit(do_not_specialize=["blocks"])
def grouped_gemm(a, b, c, scale_a, scale_b, block_row, block_rows, block_expert, blocks, N, K,
                 SCALES: tl.constexpr, BLOCK_SCALE: tl.constexpr, PRECISION: tl.constexpr, WIDEN: tl.constexpr,
                 INTEGER: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
                 GROUP: tl.constexpr):
    """One block of rows of one expert: block_row[i] its first row, block_rows[i] how many, block_expert[i] whose."""
    pid = tl.program_id(0)
    column_blocks = tl.cdiv(N, BLOCK_N)
    band = pid // (GROUP * column_blocks)
    in_band = min(blocks - band * GROUP, GROUP)
    pid_m = band * GROUP + (pid % (GROUP * column_blocks)) % in_band
    pid_n = (pid % (GROUP * column_blocks)) // in_band
    row = tl.load(block_row + pid_m)
    rows = tl.load(block_rows + pid_m)
    expert = tl.load(block_expert + pid_m).to(tl.int64)
    m = tl.arange(0, BLOCK_M)
    n = pid_n * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    a_at = a + (row + m).to(tl.int64)[:, None] * K + k[None, :]
    b_at = b + expert * N * K + n.to(tl.int64)[None, :] * K + k[:, None]
    if INTEGER and not BLOCK_SCALE:
        total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.int32)
    else:
        total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for i in range(0, tl.cdiv(K, BLOCK_K)):
        a_tile = tl.load(a_at, mask=m[:, None] < rows, other=0 if INTEGER else 0.0)  # K and N are multiples of the blocks
        b_tile = tl.load(b_at)
        if WIDEN:
            b_tile = b_tile.to(a_tile.dtype)
        if BLOCK_SCALE:
            k_block = i * BLOCK_K // 128
            part = tl.dot(a_tile, b_tile)
            k_blocks = K // 128
            s_a = tl.load(scale_a + (row + m) * k_blocks + k_block, mask=m < rows, other=0)
            s_b = tl.load(scale_b + (expert * (N // 128) + n // 128) * k_blocks + k_block)
            total += part * (s_a[:, None] * s_b[None, :])
        elif INTEGER:
            total = tl.dot(a_tile, b_tile, total, out_dtype=tl.int32)
        else:
            total = tl.dot(a_tile, b_tile, total, input_precision=PRECISION)
        a_at += BLOCK_K
        b_at += BLOCK_K
    result = total.to(tl.float32)
    if SCALES == "tensor":
        result *= tl.load(scale_a + expert) * tl.load(scale_b + expert)
    elif SCALES == "token_channel":
        s_a = tl.load(scale_a + row + m, mask=m < rows, other=0)
        result *= s_a[:, None] * tl.load(scale_b + expert * N + n)[None, :]
    elif SCALES == "channel":
        result *= tl.load(scale_b + expert * N + n)[None, :]
    c_at = c + (row + m).to(tl.int64)[:, None] * N + n[None, :]
    tl.store(c_at, result.to(c.dtype.element_ty), mask=m[:, None] < rows)


def scheme(dtype):
    """What a dtype is made of: types of A, B and C, and the kernel's switches."""
    plain = dict(SCALES="none", BLOCK_SCALE=False, PRECISION="ieee", WIDEN=False, INTEGER=False)
    e4m3 = torch.float8_e4m3fn
    bf16 = torch.bfloat16
    return {
        "float16": (torch.float16, torch.float16, torch.float16, plain),
        "bfloat16": (bf16, bf16, bf16, plain),
        "float32": (torch.float32, torch.float32, torch.float32, plain | dict(PRECISION="tf32x3")),
        "tf32": (torch.float32, torch.float32, torch.float32, plain | dict(PRECISION="tf32")),
        "fp8_w8a8": (e4m3, e4m3, bf16, plain | dict(SCALES="tensor")),
        "fp8_w8a8_block": (e4m3, e4m3, bf16, plain | dict(BLOCK_SCALE=True)),
        "int8_w8a16": (bf16, torch.int8, bf16, plain | dict(SCALES="channel", WIDEN=True)),
        "int8_w8a8": (torch.int8, torch.int8, bf16, plain | dict(SCALES="token_channel", INTEGER=True)),
    }[dtype]


def configurations(dtype, rows_an_expert):
    """Block sizes of the kind that SGLang's tool tries, less those that cannot win at so many rows an expert."""
    size = scheme(dtype)[1].itemsize if dtype != "int8_w8a16" else 2
    for m, n, k, warps, stages, group in itertools.product((16, 32, 64, 128), (64, 128, 256), (64, 128, 256), (4, 8),
                                                           (3, 4), (1, 16)):
        if m > 16 and m > 4 * rows_an_expert:
            continue
        if rows_an_expert >= 128 and (m < 64 or warps == 4 and m * n > 128 * 128):
            continue
        if k * size not in (128, 256) or (m * n >= 64 * 256) != (warps == 8):
            continue
        if dtype == "fp8_w8a8_block" and k != 128:
            continue
        if stages * k * (m + n) * size > 200 << 10 or m * n * k * size > 128 * 256 * 128:
            continue
        if group > 1 and rows_an_expert < 2 * m or group == 1 and rows_an_expert >= 2 * m:
            continue
        yield dict(BLOCK_M=m, BLOCK_N=n, BLOCK_K=k, num_warps=warps, num_stages=stages, GROUP=group)


def compile_one(job):
    """In a process of its own: fills Triton's cache on disk."""
    dtype, options = job
    torch.cuda.init()
    a_type, b_type, c_type, switches = scheme(dtype)
    try:
        grouped_gemm.warmup(a_type, b_type, c_type, torch.float32, torch.float32, torch.int32, torch.int32, torch.int32,
                            16, 4096, 4096, **switches, **options, grid=(1,))
        return None
    except Exception as error:  # a configuration that Triton cannot compile is no peer
        return f"{dtype} {options}: {str(error).splitlines()[0] if str(error) else type(error)}"


# ---- a problem's tensors --------------------------------------------------------------------------------------------

def random_tensor(shape, dtype):
    if dtype == torch.int8:
        return torch.randint(-100, 100, shape, dtype=torch.int8, device="cuda")
    if dtype == torch.float8_e4m3fn:
        return torch.randn(shape, dtype=torch.bfloat16, device="cuda").to(dtype)
    return torch.randn(shape, dtype=dtype, device="cuda")


class Cell:
    """One problem, dtype and batch size: tensors, copies of them, and the routing samples."""

    def __init__(self, problem, dtype, segments):
        experts, self.n, self.k, _, _ = PROBLEMS[problem]
        self.dtype = dtype
        self.experts = experts
        a_type, b_type, c_type, self.switches = scheme(dtype)
        self.segments = segments
        self.rows = max(s[-1] for s in segments)
        weights = experts * self.n * self.k * b_type.itemsize
        touched = min(1.0, self.rows / experts) * weights
        free, _ = torch.cuda.mem_get_info()
        copies = max(1, min(8, math.ceil(3 * 60e6 / touched), int(0.25 * free / weights)))
        self.copies = [(random_tensor((self.rows, self.k), a_type), random_tensor((experts, self.n, self.k), b_type),
                        torch.empty((self.rows, self.n), dtype=c_type, device="cuda")) for _ in range(copies)]
        blocks_k = self.k // 128
        shapes = {"none": ((1,), (1,)), "tensor": ((experts,), (experts,)),
                  "token_channel": ((self.rows,), (experts, self.n)), "channel": ((1,), (experts, self.n))}
        shape_a, shape_b = shapes[self.switches["SCALES"]]
        if self.switches["BLOCK_SCALE"]:
            shape_a, shape_b = (self.rows, blocks_k), (experts, self.n // 128, blocks_k)
        self.scale_a = torch.rand(shape_a, device="cuda") * 0.1
        self.scale_b = torch.rand(shape_b, device="cuda") * 0.1
        self.calls = 0

    def next(self):
        """The tensors and the sample of the next call."""
        self.calls += 1
        return (*self.copies[self.calls % len(self.copies)], self.segments[self.calls % len(self.segments)])

    def blocks(self, segments, block_m):
        rows, counts, experts = [], [], []
        for e in range(self.experts):
            for at in range(segments[e], segments[e + 1], block_m):
                rows.append(at)
                counts.append(min(block_m, segments[e + 1] - at))
                experts.append(e)
        return [torch.tensor(x, dtype=torch.int32, device="cuda") for x in (rows, counts, experts)]

    def reference(self, a, b, segments):
        """In float32 (float64 for float32 itself), for the rows of the first groups."""
        wide = torch.float64 if a.dtype == torch.float32 else torch.float32
        out = torch.zeros((self.rows, self.n), dtype=wide, device="cuda")
        for e in range(self.experts):
            begin, end = segments[e], segments[e + 1]
            if begin == end:
                continue
            x, w = a[begin:end].to(wide), b[e].to(wide)
            if self.switches["BLOCK_SCALE"]:
                x = x * self.scale_a[begin:end].to(wide).repeat_interleave(128, 1)
                w = w * self.scale_b[e].to(wide).repeat_interleave(128, 0).repeat_interleave(128, 1)
            y = x @ w.T
            if self.switches["SCALES"] == "tensor":
                y = y * (self.scale_a[e] * self.scale_b[e])
            elif self.switches["SCALES"] == "token_channel":
                y = y * self.scale_a[begin:end, None] * self.scale_b[e][None, :]
            elif self.switches["SCALES"] == "channel":
                y = y * self.scale_b[e][None, :]
            out[begin:end] = y
        return out


def time_graph(make_call, replays=7, calls=CALLS):
    """Microseconds a call. make_call() returns a function that enqueues one call, made before the capture."""
    work = [make_call() for _ in range(calls)]
    for call in work[:2]:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in work:
            call()
    graph.replay()
    times = []
    for _ in range(replays):
        begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3 / calls)
    return sorted(times)[len(times) // 2]


# ---- the peers ------------------------------------------------------------------------------------------------------

def triton_call(cell, options):
    def make():
        a, b, c, segments = cell.next()
        rows, counts, experts = cell.blocks(segments, options["BLOCK_M"])
        blocks = rows.numel()
        grid = (blocks * triton.cdiv(cell.n, options["BLOCK_N"]),)
        return lambda: grouped_gemm[grid](a, b, c, cell.scale_a, cell.scale_b, rows, counts, experts, blocks, cell.n,
                                          cell.k, **cell.switches, **options)
    return make


def check(cell, make, what):
    cell.calls = -1
    call = make()
    a, b, c = cell.copies[0]
    call()
    expected = cell.reference(a, b, cell.segments[0])
    rows = cell.segments[0][-1]
    error = ((c[:rows].double() - expected[:rows].double()).norm() / expected[:rows].double().norm()).item()
    if not error < 2e-2:
        raise RuntimeError(f"{what} is wrong: relative error {error:.3g}")


def best_triton(cell, rows_an_expert):
    best = (math.inf, None)
    checked = False
    all_options = list(configurations(cell.dtype, rows_an_expert))
    for options in all_options:
        try:
            if not checked:
                check(cell, triton_call(cell, options), "Triton")
                checked = True
            us = time_graph(triton_call(cell, options), replays=3, calls=4)
        except Exception as error:  # too much shared memory, say
            if "wrong" in str(error):
                raise
            continue
        best = min(best, (us, options), key=lambda one: one[0])
    if best[1] is None:
        raise RuntimeError("no Triton configuration ran")
    return time_graph(triton_call(cell, best[1])), best[1]


def torch_grouped(cell):
    offsets = [torch.tensor(s[1:], dtype=torch.int32, device="cuda") for s in cell.segments]
    if cell.dtype == "bfloat16":
        def make():
            a, b, _, segments = cell.next()
            offs = offsets[cell.segments.index(segments)]
            return lambda: torch._grouped_mm(a, b.transpose(-2, -1), offs=offs)
        return time_graph(make)
    if cell.dtype == "fp8_w8a8":  # one scale a row and a column: the nearest that PyTorch has
        scale_a = torch.rand(cell.rows, device="cuda")
        scale_b = torch.rand((cell.experts, cell.n), device="cuda")
        def make():
            a, b, _, segments = cell.next()
            offs = offsets[cell.segments.index(segments)]
            return lambda: torch._scaled_grouped_mm(a, b.transpose(-2, -1), scale_a, scale_b, offs=offs,
                                                    out_dtype=torch.bfloat16)
        return time_graph(make)
    return None


def cublas_loop(cell):
    if cell.dtype not in ("float16", "bfloat16", "float32", "tf32"):
        return None
    torch.backends.cuda.matmul.allow_tf32 = cell.dtype == "tf32"
    def make():
        a, b, c, s = cell.next()
        def call():
            for e in range(cell.experts):
                if s[e + 1] > s[e]:
                    torch.mm(a[s[e]:s[e + 1]], b[e].T, out=c[s[e]:s[e + 1]])
        return call
    return time_graph(make, calls=4)


# ---- expertile ------------------------------------------------------------------------------------------------------

def run_expertile(program, command, problem, dtype, batches, directory):
    options = PROBLEMS[problem][4].split() + ["--dtype", dtype.replace("_block", "").replace("tf32", "float32")]
    if dtype == "fp8_w8a8_block":
        options += ["--block-shape", "128,128"]
    if dtype == "tf32":
        options += ["--tf32"]
    done = subprocess.run([program, command, "--json", "--quiet", "--device", "cuda", "--batch-size",
                           ",".join(map(str, batches)), "--output-dir", directory, *options],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)["problems"][0]


def expertile_times(program, problem, dtype, batches, directory):
    """Tunes, then times what was tuned, afresh: {batch: (tuned us, default us, seg_indptr of the samples)}."""
    tuned = run_expertile(program, "tune", problem, dtype, batches, directory)
    report = json.loads(pathlib.Path(tuned["file"]).with_suffix(".report.json").read_text())
    timed = run_expertile(program, "bench", problem, dtype, batches, directory)
    return {r["batch"]: (r["tuned_us"], r["default_us"], report["batches"][str(r["batch"])]["seg_indptr"], r["config"])
            for r in timed["results"]}


# ---- the table ------------------------------------------------------------------------------------------------------

def geomean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def ceilings():
    size = 8192
    x, y = (torch.randn((size, size), dtype=torch.bfloat16, device="cuda") for _ in range(2))
    matmul = time_graph(lambda: (lambda: torch.mm(x, y)), calls=4)
    source = torch.empty(1 << 30, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    copy = time_graph(lambda: (lambda: torch.mul(source, 1.0, out=target)), calls=2)
    return 2 * size**3 / matmul * 1e-6, 8 * source.numel() / copy * 1e-6


def clocks():
    try:
        return subprocess.run(["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,clocks.max.mem",
                               "--format=csv,noheader"], capture_output=True, text=True).stdout.strip()
    except OSError:
        return "unknown"


def number(value):
    return "-" if value is None else f"{value:.1f}"


def write(rows, out):
    """After every row, so that a run that is cut off leaves what it measured."""
    if out:
        (out / "peers.json").write_text(json.dumps(rows, indent=1))


def print_markdown(rows, tflops, tbps, out):
    properties = torch.cuda.get_device_properties(0)
    lines = [f"{properties.name}, driver and clocks (SM, memory) {clocks()}, PyTorch {torch.__version__}, Triton "
             f"{triton.__version__}, {datetime.date.today()}. Ceilings in this run: copy {tbps:.2f} TB/s, cuBLAS bfloat16 "
             f"{tflops:.0f} TFLOP/s.", "",
             "| dtype | problem | batch | expertile us | built-in us | Triton us | torch grouped us | cuBLAS loop us | "
             "Triton / expertile |", "|---|---|---|---|---|---|---|---|---|"]
    for r in rows:
        ratio = f"{r['triton'] / r['expertile']:.2f}" if r["triton"] else "-"
        lines.append(f"| {r['dtype']} | {r['problem']} | {r['batch']} | {r['expertile']:.1f} | {r['default']:.1f} | "
                     f"{number(r['triton'])} | {number(r['torch'])} | {number(r['cublas'])} | {ratio} |")
    lines += ["", "Geometric means of Triton's time over expertile's (above 1: expertile is faster), and of the built-in "
              "configuration's time over the tuned one's:", "",
              "| dtype | batch 1 to 64 | batch 128 and more | built-in / tuned |", "|---|---|---|---|"]
    for dtype in dict.fromkeys(r["dtype"] for r in rows):
        mine = [r for r in rows if r["dtype"] == dtype]
        few = geomean(r["triton"] / r["expertile"] for r in mine if r["batch"] <= 64 and r["triton"])
        many = geomean(r["triton"] / r["expertile"] for r in mine if r["batch"] >= 128 and r["triton"])
        lines.append(f"| {dtype} | {few:.2f} | {many:.2f} | {geomean(r['default'] / r['expertile'] for r in mine):.2f} |")
    print("\n".join(lines))
    if out:
        (out / "peers.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expertile", default=str(ROOT / "build/release/expertile"), help="the program")
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--problems", default="", help="comma list; default: all for bfloat16, gate_up for the others")
    parser.add_argument("--cells", default="", help="comma list of dtype:problem, instead of the two options above")
    parser.add_argument("--batches", default="1,4,16,64,256,1024,4096")
    parser.add_argument("--out", type=pathlib.Path, help="a directory for peers.md and peers.json")
    parser.add_argument("--no-peers", action="store_true", help="expertile alone")
    options = parser.parse_args()
    batches = [int(b) for b in options.batches.split(",")]
    cells = [tuple(c.split(":")) for c in options.cells.split(",") if c]
    for dtype in [] if cells else options.dtypes.split(","):
        names = options.problems.split(",") if options.problems else list(PROBLEMS) if dtype == "bfloat16" else FOR_OTHERS
        for problem in names:
            if dtype == "fp8_w8a8_block" and not options.problems and problem == "mixtral.gate_up":
                continue
            cells.append((dtype, problem))
    if not options.no_peers:
        jobs = []
        for dtype, problem in cells:
            experts, _, _, top_k, _ = PROBLEMS[problem]
            for batch in batches:
                jobs += [(dtype, c) for c in configurations(dtype, max(1, batch * top_k / experts))]
        jobs = [json.loads(j) for j in dict.fromkeys(json.dumps(j) for j in jobs)]
        print(f"compiling {len(jobs)} Triton configurations", file=sys.stderr)
        import multiprocessing
        with ProcessPoolExecutor(max_workers=min(16, os.cpu_count() or 1),
                                 mp_context=multiprocessing.get_context("spawn")) as pool:
            failed = [f for f in pool.map(compile_one, jobs, chunksize=4) if f]
        for line in failed[:5]:
            print(f"not compiled: {line}", file=sys.stderr)
        print(f"{len(failed)} did not compile", file=sys.stderr)
    tflops, tbps = ceilings()
    rows = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        measure(options, cells, batches, rows)
    except KeyboardInterrupt:
        print("stopped: the table has what was measured", file=sys.stderr)
    print_markdown(rows, tflops, tbps, options.out)


def measure(options, cells, batches, rows):
    """Appends a row to `rows` for every cell and batch size."""
    with tempfile.TemporaryDirectory() as directory:
        for dtype, problem in cells:
            try:
                ours = expertile_times(options.expertile, problem, dtype, batches, directory)
            except RuntimeError as error:
                print(f"{dtype} {problem}: expertile: {error}", file=sys.stderr)
                continue
            for batch, (tuned, default, segments, config) in ours.items():
                row = dict(dtype=dtype, problem=problem, batch=batch, expertile=tuned, default=default, config=config,
                           triton=None, torch=None, cublas=None)
                rows.append(row)
                if not options.no_peers:
                    cell = Cell(problem, dtype, segments)
                    rows_an_expert = max(1.0, cell.rows / cell.experts)
                    for name, peer in (("triton", lambda: best_triton(cell, rows_an_expert)),
                                       ("torch", lambda: torch_grouped(cell)), ("cublas", lambda: cublas_loop(cell))):
                        try:
                            result = peer()
                            if name == "triton":
                                result, row["triton_config"] = result
                            row[name] = result
                        except Exception as error:
                            print(f"{dtype} {problem} {batch} {name}: {str(error).splitlines()[:1]}", file=sys.stderr)
                    del cell
                    torch.cuda.empty_cache()
                write(rows, options.out)
                print(f"{dtype} {problem} {batch}: expertile {tuned:.1f} default {default:.1f} triton "
                      f"{number(row['triton'])} torch {number(row['torch'])} cublas {number(row['cublas'])}",
                      file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
