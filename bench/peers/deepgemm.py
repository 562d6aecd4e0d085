"""DeepGEMM, which is optional: PyPI's sgl-deep-gemm of the release that fits the PyTorch at hand (0.1.5 and
apache-tvm-ffi 0.1.11 for PyTorch 2.11). Its kernels are made for Hopper, by nvcc at the first call.

Contiguous: the rows of a group are padded to a multiple of the block, and every row names its expert (-1: padding).
Masked: every expert has room for the longest group, and masked_m says how many rows count. The padding and the turning
of A's scales into columns (what the kernel's tensor maps want) are made before anything is timed, in the caller's favour.
"""

import os
import pathlib
import shutil

import torch

from . import cells
from .tensors import DEVICE, free_bytes, integers, scheme
from .timing import time_graph

BLOCK_M = 128  # of the masked form: a block of C must not reach into the next expert's rows


class Unavailable(RuntimeError):
    pass


def module():
    """deep_gemm, or Unavailable with the reason in a line."""
    os.environ.setdefault("DG_JIT_CACHE_DIR", str(pathlib.Path(os.environ.get("HOME") or "/tmp") / ".deep_gemm"))
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    if not (pathlib.Path(home) / "bin/nvcc").exists() and not shutil.which("nvcc"):
        os.environ.setdefault("DG_JIT_USE_NVRTC", "1")
    try:
        import deep_gemm
    except Exception as error:  # a missing symbol where it was built for another PyTorch
        raise Unavailable(f"DeepGEMM cannot be imported: {cells.first_line(error)}") from error
    return deep_gemm


def columns(scales):
    """[.., M, K/128] whose columns are contiguous, M being a multiple of 4 here: no copy is left to the call."""
    return scales.transpose(-2, -1).contiguous().transpose(-2, -1)


def scattered(rows, positions, count):
    """`count` rows of zeros, but for `rows` at `positions`."""
    out = torch.zeros((count, rows.shape[1]), dtype=rows.dtype, device=rows.device)
    if rows.itemsize == 1:  # not every type of one byte can be indexed
        out.view(torch.uint8)[positions] = rows.view(torch.uint8)
    else:
        out[positions] = rows
    return out


def contiguous_layout(counts, alignment):
    """Where each row goes, and whose each padded row is."""
    positions, owners = [], []
    for expert, count in enumerate(counts):
        positions += range(len(owners), len(owners) + count)
        owners += [expert] * count + [-1] * (cells.rounded_up(count, alignment) - count)
    return positions, owners


def masked_layout(counts, longest):
    return [expert * longest + i for expert, count in enumerate(counts) for i in range(count)]


def masked_room(samples):
    return cells.rounded_up(max(max(cells.counts_of(s)) for s in samples), BLOCK_M)


def must_fit(nbytes):
    if nbytes > 0.6 * free_bytes():
        raise RuntimeError(f"its padded tensors need {nbytes / 2**30:.1f} GiB")


class Padded:
    """A and its scales as one form wants them, for each routing sample, and C with room for the padding."""

    def __init__(self, cell, positions, counts_of_rows, groups=None):
        a = cell.copies[0][0]
        block_scale = cell.switches["BLOCK_SCALE"]
        most = max(counts_of_rows)
        must_fit(sum(counts_of_rows) * cell.k * a.itemsize + len(cell.copies) * most * cell.n * 2)
        self.positions = [torch.tensor(p, device=DEVICE) for p in positions]
        self.inputs = []
        for at, count in zip(self.positions, counts_of_rows):
            rows = at.numel()
            x = scattered(a[:rows], at, count)
            scales = scattered(cell.scale_a[:rows], at, count) if block_scale else None
            if groups:
                x = x.view(groups, count // groups, cell.k)
                scales = scales.view(groups, count // groups, -1) if block_scale else None
            self.inputs.append((x, columns(scales)) if block_scale else x)
        self.outputs = [torch.empty((most, cell.n), dtype=torch.bfloat16, device=DEVICE) for _ in cell.copies]

    def read(self, rows):
        """Rows of the first call's result."""
        return self.outputs[0][self.positions[0][rows]]


def weights_of(cell, copy):
    b = cell.copies[copy][1]
    return (b, cell.scale_b) if cell.switches["BLOCK_SCALE"] else b


def contiguous(cell):
    deep_gemm = module()
    alignment = int(deep_gemm.get_mk_alignment_for_contiguous_layout())
    gemm = contiguous_gemm(deep_gemm, cell.dtype)
    layouts = [contiguous_layout(cells.counts_of(s), alignment) for s in cell.segments]
    padded = Padded(cell, [positions for positions, _ in layouts], [len(owners) for _, owners in layouts])
    owners = [integers(o) for _, o in layouts]

    def make():
        copy, sample = cell.next()
        x, w, rows = padded.inputs[sample], weights_of(cell, copy), owners[sample].numel()
        out, owner = padded.outputs[copy][:rows], owners[sample]
        return lambda: gemm(x, w, out, owner)
    return checked_time(cell, make, padded, "DeepGEMM's contiguous form")


def masked(cell):
    deep_gemm = module()
    gemm = masked_gemm(deep_gemm, cell.dtype)
    room = masked_room(cell.segments)
    count = cell.experts * room
    positions = [masked_layout(cells.counts_of(s), room) for s in cell.segments]
    padded = Padded(cell, positions, [count] * len(positions), cell.experts)
    masks = [integers(cells.counts_of(s)) for s in cell.segments]
    expected = expected_rows(cell.rows, cell.experts)

    def make():
        copy, sample = cell.next()
        x, w, mask = padded.inputs[sample], weights_of(cell, copy), masks[sample]
        out = padded.outputs[copy].view(cell.experts, room, cell.n)
        return lambda: gemm(x, w, out, mask, expected)
    return checked_time(cell, make, padded, "DeepGEMM's masked form")


def expected_rows(rows, experts):
    return max(1, (rows + experts - 1) // experts)


def contiguous_gemm(deep_gemm, dtype):
    if dtype == "bfloat16":
        return deep_gemm.m_grouped_bf16_gemm_nt_contiguous
    return deep_gemm.m_grouped_fp8_gemm_nt_contiguous


def masked_gemm(deep_gemm, dtype):
    if dtype == "bfloat16":
        return deep_gemm.m_grouped_bf16_gemm_nt_masked
    for name in ("m_grouped_fp8_gemm_nt_masked", "fp8_m_grouped_gemm_nt_masked", "m_grouped_fp8_fp4_gemm_nt_masked"):
        if hasattr(deep_gemm, name):
            return getattr(deep_gemm, name)
    raise RuntimeError("this DeepGEMM has no masked form for e4m3")


def checked_time(cell, make, padded, what):
    cell.check(make, what, padded.read)
    cell.restart()
    return {"us": time_graph(make, load_us=cell.load_us)}


def compile_one(job):
    """In a process of its own: fills DeepGEMM's cache on disk with the kernel that a cell will call. The tile that it
    chooses depends on the shapes alone. Returns a line where that failed."""
    dtype, problem, form, counts = job
    try:
        deep_gemm = module()
        experts, n, k, _, _ = cells.PROBLEMS[problem]
        a_type, b_type, _, switches = scheme(dtype)
        w = torch.empty((experts, n, k), dtype=b_type, device=DEVICE)
        if form == "contiguous":
            alignment = int(deep_gemm.get_mk_alignment_for_contiguous_layout())
            rows = len(contiguous_layout(counts, alignment)[1])
            shape, last = (rows,), (integers([0] * rows),)
            gemm = contiguous_gemm(deep_gemm, dtype)
        else:
            shape, last = (experts, cells.rounded_up(max(counts), BLOCK_M)), (integers([0] * experts),
                                                                             expected_rows(sum(counts), experts))
            gemm = masked_gemm(deep_gemm, dtype)
        x = torch.zeros((*shape, k), dtype=torch.uint8 if a_type.itemsize == 1 else a_type, device=DEVICE).view(a_type)
        if switches["BLOCK_SCALE"]:
            x = x, columns(torch.ones((*shape, k // 128), device=DEVICE))
            w = w, torch.ones((experts, n // 128, k // 128), device=DEVICE)
        out = torch.empty((*shape, n), dtype=torch.bfloat16, device=DEVICE)
        gemm(x, w, out, *last)
        torch.cuda.synchronize()
        return None
    except Exception as error:
        return f"DeepGEMM {form} {dtype} {problem}: {cells.first_line(error)}"
    finally:
        x = w = out = None
        torch.cuda.empty_cache()
