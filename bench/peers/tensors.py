"""The tensors of a cell, copies of them, the routing samples, and the right result to hold every peer against."""

import math

import torch

from . import cells
from .timing import LOAD_US

DEVICE = "cuda"
MOST_COPIES = 8
ROWS_CHECKED = 8  # of each group


def scheme(dtype):
    """What a dtype is made of: types of A, B and C, and the Triton kernel's switches."""
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


def random_tensor(shape, dtype):
    if dtype == torch.int8:
        return torch.randint(-100, 100, shape, dtype=torch.int8, device=DEVICE)
    if dtype == torch.float8_e4m3fn:
        return torch.randn(shape, dtype=torch.bfloat16, device=DEVICE).to(dtype)
    return torch.randn(shape, dtype=dtype, device=DEVICE)


def integers(values):
    return torch.tensor(values, dtype=torch.int32, device=DEVICE)


def free_bytes():
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()[0]


class Cell:
    """One problem, dtype and batch size."""

    def __init__(self, problem, dtype, segments):
        self.experts, self.n, self.k, _, _ = cells.PROBLEMS[problem]
        self.dtype = dtype
        self.segments = segments
        self.rows = max(s[-1] for s in segments)
        a_type, b_type, c_type, self.switches = scheme(dtype)
        moved = cells.traffic(problem, dtype, segments)
        self.rows_an_expert = moved["rows_an_expert"]
        memory_us, products_us = moved["bytes"] / 3e6, moved["flops"] / 4e8  # at 3 TB/s and 400 TFLOP/s
        self.least_us = max(memory_us, products_us)
        self.load_us = LOAD_US if products_us > memory_us else 0.0
        self.copies = [(random_tensor((self.rows, self.k), a_type), random_tensor((self.experts, self.n, self.k), b_type),
                        torch.empty((self.rows, self.n), dtype=c_type, device=DEVICE))
                       for _ in range(self._cold_copies(moved["weight_bytes"], b_type.itemsize))]
        self._make_scales()
        self.calls = 0
        self._blocks = {}
        self._expected = None

    def _cold_copies(self, touched, size):
        """Weights that the last cache holds would be timed warm; so many copies take turns that they are cold. With
        many rows the weights alone are larger than the cache, and there is one copy."""
        cache = getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 0) or 60e6
        room = 0.25 * free_bytes() / (self.experts * self.n * self.k * size)
        return max(1, min(MOST_COPIES, math.ceil(3 * cache / touched), int(room)))

    def _make_scales(self):
        shapes = {"none": ((1,), (1,)), "tensor": ((self.experts,), (self.experts,)),
                  "token_channel": ((self.rows,), (self.experts, self.n)), "channel": ((1,), (self.experts, self.n))}
        shape_a, shape_b = shapes[self.switches["SCALES"]]
        if self.switches["BLOCK_SCALE"]:
            shape_a, shape_b = (self.rows, self.k // 128), (self.experts, self.n // 128, self.k // 128)
        self.scale_a = torch.rand(shape_a, device=DEVICE) * 0.1
        self.scale_b = torch.rand(shape_b, device=DEVICE) * 0.1

    def restart(self):
        """The next call is the first one again: copy 0, sample 0, which `check` has the right result of."""
        self.calls = 0

    def next(self):
        """The copy and the routing sample of the next call, as indices."""
        call = self.calls
        self.calls += 1
        return call % len(self.copies), call % len(self.segments)

    def blocks(self, sample, block_m):
        """First row, number of rows and expert of each block of rows, as the Triton kernel reads them."""
        if (sample, block_m) not in self._blocks:
            segments = self.segments[sample]
            found = [(at, min(block_m, segments[e + 1] - at), e) for e in range(self.experts)
                     for at in range(segments[e], segments[e + 1], block_m)]
            self._blocks[sample, block_m] = [integers(x) for x in zip(*found)]
        return self._blocks[sample, block_m]

    def expected(self):
        """Rows of the first call, spread over every group, and their right values in float32 (float64 for float32)."""
        if self._expected is None:
            a, b, _ = self.copies[0]
            wide = torch.float64 if a.dtype == torch.float32 else torch.float32
            chosen, values = [], []
            for e in range(self.experts):
                begin, end = self.segments[0][e], self.segments[0][e + 1]
                if begin == end:
                    continue
                last = end - 1 - begin
                rows = sorted({begin + last * i // (ROWS_CHECKED - 1) for i in range(ROWS_CHECKED)})
                chosen += rows
                values.append(self._right_rows(a, b, e, torch.tensor(rows, device=DEVICE), wide))
            self._expected = torch.tensor(chosen, device=DEVICE), torch.cat(values)
        return self._expected

    def _right_rows(self, a, b, e, rows, wide):
        # elements of one byte are picked as bytes: not every type of one byte can be indexed
        x = a.view(torch.uint8)[rows].view(a.dtype) if a.itemsize == 1 else a[rows]
        x, w = x.to(wide), b[e].to(wide)
        if self.switches["BLOCK_SCALE"]:
            x = x * self.scale_a[rows].to(wide).repeat_interleave(128, 1)
            w = w * self.scale_b[e].to(wide).repeat_interleave(128, 0).repeat_interleave(128, 1)
        y = x @ w.T
        if self.switches["SCALES"] == "tensor":
            return y * (self.scale_a[e] * self.scale_b[e])
        if self.switches["SCALES"] == "token_channel":
            return y * self.scale_a[rows, None] * self.scale_b[e][None, :]
        if self.switches["SCALES"] == "channel":
            return y * self.scale_b[e][None, :]
        return y

    def check(self, make, what, read=None):
        """Runs the first call and compares. read(rows) gives rows of the result where neither C nor what the call
        returns holds them in their order."""
        self.restart()
        call = make()
        self.copies[0][2].zero_()
        returned = call()
        rows, expected = self.expected()
        if read is not None:
            result = read(rows)
        else:
            result = (self.copies[0][2] if returned is None else returned)[rows]
        error = ((result.to(expected.dtype) - expected).norm() / expected.norm()).item()
        if not error < 2e-2:
            raise RuntimeError(f"{what} is wrong: relative error {error:.3g}")
