"""A plain Triton grouped GEMM of the kind that SGLang tunes, its block sizes tuned here for each cell."""

import sys

import triton
import triton.language as tl

from .cells import first_line
from .tensors import scheme
from .timing import time_graph, time_quickly
from .triton_configs import bands, configurations


@triton.jit(do_not_specialize=["blocks", "band_rows"])
def grouped_gemm(a, b, c, scale_a, scale_b, block_row, block_rows, block_expert, blocks, band_rows, N, K,
                 SCALES: tl.constexpr, BLOCK_SCALE: tl.constexpr, PRECISION: tl.constexpr, WIDEN: tl.constexpr,
                 INTEGER: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr):
    """One block of rows of one expert: block_row[i] its first row, block_rows[i] how many, block_expert[i] whose."""
    pid = tl.program_id(0)
    column_blocks = tl.cdiv(N, BLOCK_N)
    band = pid // (band_rows * column_blocks)
    in_band = min(blocks - band * band_rows, band_rows)
    pid_m = band * band_rows + (pid % (band_rows * column_blocks)) % in_band
    pid_n = (pid % (band_rows * column_blocks)) // in_band
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


def compile_one(job):
    """In a process of its own: fills Triton's cache on disk. Returns a line where that failed."""
    import torch
    dtype, options = job
    torch.cuda.init()
    a_type, b_type, c_type, switches = scheme(dtype)
    i32, f32 = torch.int32, torch.float32
    try:
        grouped_gemm.warmup(a_type, b_type, c_type, f32, f32, i32, i32, i32, 16, 16, 4096, 4096, **switches, **options,
                            grid=(1,))
        return None
    except Exception as error:  # a configuration that Triton cannot compile is no peer
        return f"Triton {dtype} {options}: {first_line(error)}"


def triton_call(cell, options, band_rows):
    def make():
        copy, sample = cell.next()
        a, b, c = cell.copies[copy]
        rows, counts, experts = cell.blocks(sample, options["BLOCK_M"])
        blocks = rows.numel()
        grid = (blocks * triton.cdiv(cell.n, options["BLOCK_N"]),)

        def call():  # a launch returns the kernel: this returns nothing, the result is in c
            grouped_gemm[grid](a, b, c, cell.scale_a, cell.scale_b, rows, counts, experts, blocks, band_rows, cell.n,
                               cell.k, **cell.switches, **options)
        return call
    return make


def rank(cell):
    """Every configuration timed quickly: [(us, options, band_rows)], the fastest first."""
    calls = 8 if cell.least_us < 200 else 2
    ranked, failed = [], []

    def race(options, band_rows):
        try:
            cell.restart()
            ranked.append((time_quickly(triton_call(cell, options, band_rows), calls), options, band_rows))
        except Exception as error:  # too much shared memory, say
            failed.append(first_line(error))

    for options in configurations(cell.dtype, cell.rows_an_expert):
        race(options, bands(options, cell.rows_an_expert)[0])
    if not ranked:
        raise RuntimeError(f"no Triton configuration ran: {failed[0] if failed else 'there is none'}")
    winner = min(ranked, key=lambda one: one[0])[1]
    for band_rows in bands(winner, cell.rows_an_expert)[1:]:
        race(winner, band_rows)
    return sorted(ranked, key=lambda one: one[0])


def best_triton(cell):
    """The best two are timed in full; both are checked."""
    best = None
    last_error = None
    for _, options, band_rows in rank(cell)[:2]:
        make = triton_call(cell, options, band_rows)
        try:
            cell.check(make, "Triton")
        except RuntimeError as error:
            print(f"Triton {options}: {first_line(error)}", file=sys.stderr)
            last_error = error
            continue
        us = time_graph(make, load_us=cell.load_us)
        if best is None or us < best["us"]:
            best = {"us": us, "config": options | {"band_rows": band_rows}}
    if best is None:
        raise last_error
    return best
